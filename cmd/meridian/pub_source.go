package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/meridian-relay/meridian/relay/wire"
)

// A source yields payloads; io.EOF when there are no more.
type source interface {
	// next returns a payload, which belongs to the caller, and where it stands in the input, for
	// errors.
	next() (payload []byte, where string, err error)
	io.Closer
}

var (
	_ source = (*words)(nil)
	_ source = (*whole)(nil)
	_ source = (*lineSource)(nil)
)

// words are the arguments.
type words struct{ left []string }

func (w *words) next() ([]byte, string, error) {
	if len(w.left) == 0 {
		return nil, "", io.EOF
	}
	p := w.left[0]
	w.left = w.left[1:]
	return []byte(p), "", nil
}

func (*words) Close() error { return nil }

// whole is all of a file as one message.
type whole struct {
	name string
	file io.ReadCloser
	done bool
}

func (w *whole) next() ([]byte, string, error) {
	if w.done {
		return nil, "", io.EOF
	}
	w.done = true
	b, err := io.ReadAll(io.LimitReader(w.file, wire.MaxPayload+1))
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", w.name, err)
	}
	if len(b) > wire.MaxPayload {
		return nil, "", fmt.Errorf("%s has more than %d bytes, the most that a message carries; --lines makes each line a message", w.name, wire.MaxPayload)
	}
	return b, w.name, nil
}

func (w *whole) Close() error { return w.file.Close() }

// lineSource is a message for each line.
type lineSource struct {
	name string
	file io.ReadCloser
	r    *bufio.Reader
	line int
}

func newLineSource(name string, file io.ReadCloser) *lineSource {
	// A line and its end, and one byte more to see that a line is too long.
	return &lineSource{name: name, file: file, r: bufio.NewReaderSize(file, wire.MaxPayload+2)}
}

func (l *lineSource) next() ([]byte, string, error) {
	b, err := l.r.ReadSlice('\n')
	if len(b) > 0 {
		l.line++
	}
	where := fmt.Sprintf("line %d of %s", l.line, l.name)
	tooLong := errors.Is(err, bufio.ErrBufferFull)
	if err != nil && err != io.EOF && !tooLong {
		return nil, "", fmt.Errorf("read %s after line %d: %w", l.name, l.line, err)
	}
	if len(b) == 0 && err == io.EOF {
		return nil, "", io.EOF
	}
	b = bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
	if tooLong || len(b) > wire.MaxPayload {
		return nil, "", fmt.Errorf("%s has more than %d bytes, the most that a message carries", where, wire.MaxPayload)
	}
	return bytes.Clone(b), where, nil
}

func (l *lineSource) Close() error { return l.file.Close() }

// A payload is what a source yielded.
type payload struct {
	bytes []byte
	where string
	err   error
}

// read reads the source on a goroutine of its own. That goroutine may stay in a read that
// nothing can interrupt, such as of a terminal, when ctx ends; the process then ends with it in
// there.
func read(ctx context.Context, s source) <-chan payload {
	payloads := make(chan payload, 16)
	go func() {
		for {
			b, where, err := s.next()
			select {
			case payloads <- payload{b, where, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return payloads
}

// pace spaces messages evenly.
type pace struct {
	every time.Duration // 0: at once
	next  time.Time
}

func newPace(rate float64) *pace {
	if rate == 0 {
		return &pace{}
	}
	return &pace{every: time.Duration(float64(time.Second) / rate), next: time.Now()}
}

// wait waits for the next message's turn.
func (p *pace) wait(ctx context.Context) error {
	if p.every == 0 {
		return nil
	}
	left := time.Until(p.next)
	// Who was late does not catch up by more than a second's worth.
	p.next = p.next.Add(p.every)
	if left < -time.Second {
		p.next = time.Now()
	}
	if left <= 0 {
		return nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
