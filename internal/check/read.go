package check

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxLine bounds a line of a log, in bytes.
const maxLine = 64 << 10

// ErrLog is wrapped by errors about what a log says. They name file and line.
var ErrLog = errors.New("not a log of version 1")

// Read reads a log, in lines of JSON. name is what errors and excerpts call it.
func Read(name string, r io.Reader) (*Log, error) {
	in := bufio.NewReaderSize(r, maxLine)
	bad := func(n int, err error) error { return fmt.Errorf("%s:%d: %w: %w", name, n, ErrLog, err) }
	var l *Log
	ops, subs := make(map[uint64]kind), make(map[uint64]kind) // what asked, or answered
	for n := 1; ; n++ {
		b, err := in.ReadSlice('\n')
		whole := err == nil
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, bad(n, fmt.Errorf("the line has more than %d bytes", maxLine))
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		case !whole && len(bytes.TrimSpace(b)) == 0:
			if l == nil {
				return nil, bad(n, errors.New("it is empty"))
			}
			return l, nil
		}
		if l == nil {
			h, err := parseHeader(b)
			if err != nil {
				return nil, bad(n, err)
			}
			l = newLog(name, h.Clock)
			continue
		}
		x, err := l.parse(b)
		switch {
		case err != nil && !whole:
			return l, nil // cut off
		case err != nil:
			return nil, bad(n, err)
		}
		if err := belongs(ops, subs, &x); err != nil {
			return nil, bad(n, err)
		}
		l.lines = append(l.lines, x)
	}
}

// belongs says whether a line belongs to one before.
func belongs(ops, subs map[uint64]kind, x *line) error {
	switch x.kind {
	case kindPublish:
		if ops[x.id] != 0 {
			return fmt.Errorf("op %d began before: every attempt has a number of its own", x.id)
		}
		ops[x.id] = kindPublish
	case kindAnswer:
		switch ops[x.id] {
		case kindAnswer:
			return fmt.Errorf("op %d is answered already", x.id)
		case kindPublish:
		default:
			return fmt.Errorf("no line before begins op %d", x.id)
		}
		ops[x.id] = kindAnswer
	case kindSubscribe, kindReplica:
		if subs[x.id] != 0 {
			return fmt.Errorf("sub %d began before: every subscription has a number of its own", x.id)
		}
		subs[x.id] = x.kind
	default:
		if subs[x.id] == 0 {
			return fmt.Errorf("no line before begins sub %d", x.id)
		}
	}
	return nil
}

// WriteTo writes the log as lines of JSON.
func (l *Log) WriteTo(w io.Writer) (int64, error) {
	var n int64
	put := func(r record) error {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		m, err := w.Write(append(b, '\n'))
		n += int64(m)
		return err
	}
	if err := put(l.header()); err != nil {
		return n, err
	}
	for i := range l.lines {
		if err := put(l.record(&l.lines[i])); err != nil {
			return n, err
		}
	}
	return n, nil
}
