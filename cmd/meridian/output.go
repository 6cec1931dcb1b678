package main

import (
	"bufio"
	"encoding/json"
	"io"

	"github.com/spf13/pflag"
)

// A format is how data is written on stdout.
type format string

const (
	text    format = "text"
	jsonOut format = "json"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "text|json" }

func (f *format) Set(s string) error {
	if s != string(text) && s != string(jsonOut) {
		return usagef("write text or json")
	}
	*f = format(s)
	return nil
}

// outputFlag adds -o.
func outputFlag(flags *pflag.FlagSet) *format {
	f := text
	flags.VarP(&f, "output", "o", "how to print data")
	return &f
}

// lines writes lines; what it was given is on its way when flush returns.
type lines struct {
	w *bufio.Writer
}

func newLines(w io.Writer) *lines { return &lines{bufio.NewWriterSize(w, 64<<10)} }

func (l *lines) text(s string) error {
	if _, err := l.w.WriteString(s); err != nil {
		return err
	}
	return l.w.WriteByte('\n')
}

func (l *lines) json(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if _, err := l.w.Write(b); err != nil {
		return err
	}
	return l.w.WriteByte('\n')
}

func (l *lines) flush() error { return l.w.Flush() }
