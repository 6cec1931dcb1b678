package main

import (
	"cmp"
	"fmt"
	"os"
	"time"
	"unicode/utf8"
)

// syncEvery is how often the file of acknowledgements is made durable while it grows.
const syncEvery = time.Second

// An ackFile is what --acks names: a line for each message that was acknowledged, written before
// its position is printed and durable within a second, so that whoever finds this process dead
// knows what it knew. Owned by the goroutine that prints.
type ackFile struct {
	f      *os.File
	w      *lines
	sync   func() error
	synced time.Time
	dirty  bool // it has more than was synced
}

// openAckFile opens the file to append to it.
func openAckFile(name string) (*ackFile, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--acks: %w", err)
	}
	return &ackFile{f: f, w: newLines(f), sync: f.Sync, synced: time.Now()}, nil
}

// An ackLine is a line of the file in JSON.
type ackLine struct {
	position
	Payload *string `json:"payload,omitempty"`
	Base64  []byte  `json:"payload_base64,omitempty"` // where the payload is not UTF-8
}

func (a *ackFile) write(f format, k *ack) error {
	a.dirty = true
	if f == text {
		return a.failed(a.w.text(k.at.String() + "\t" + string(k.payload)))
	}
	line := ackLine{position: position(k.at)}
	if utf8.Valid(k.payload) {
		s := string(k.payload)
		line.Payload = &s
	} else {
		line.Base64 = k.payload
	}
	return a.failed(a.w.json(line))
}

// flush hands what was written to the system, and makes it durable once a second. again, if it is
// not 0, is when flush wants to be called again at the latest.
func (a *ackFile) flush() (again time.Duration, err error) {
	if err := a.w.flush(); err != nil {
		return 0, a.failed(err)
	}
	if !a.dirty {
		return 0, nil
	}
	if left := syncEvery - time.Since(a.synced); left > 0 {
		return left, nil
	}
	a.synced, a.dirty = time.Now(), false
	return 0, a.failed(a.sync())
}

// close makes everything durable.
func (a *ackFile) close() error {
	return a.failed(cmp.Or(a.w.flush(), a.sync(), a.f.Close()))
}

func (a *ackFile) failed(err error) error {
	if err != nil {
		return fmt.Errorf("write %s: %w", a.f.Name(), err)
	}
	return nil
}
