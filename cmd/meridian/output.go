package main

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"
	"text/tabwriter"

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

// A table writes rows: as text in columns under their names, as JSON a line for each row's value.
type table struct {
	format format
	lines  *lines
	tabs   *tabwriter.Writer
	err    error
}

func newTable(w io.Writer, f format, columns ...string) *table {
	t := &table{format: f, lines: newLines(w)}
	if f == text {
		t.tabs = tabwriter.NewWriter(t.lines.w, 0, 0, 3, ' ', 0)
		t.cells(columns)
	}
	return t
}

// row adds a row.
func (t *table) row(value any, cells ...string) {
	switch {
	case t.err != nil:
	case t.format == jsonOut:
		t.err = t.lines.json(value)
	default:
		t.cells(cells)
	}
}

func (t *table) cells(cells []string) {
	_, t.err = io.WriteString(t.tabs, strings.TrimRight(strings.Join(cells, "\t"), "\t")+"\n")
}

// flush writes what was added, and returns the first error.
func (t *table) flush() error {
	if t.err == nil && t.tabs != nil {
		t.err = t.tabs.Flush()
	}
	if t.err == nil {
		t.err = t.lines.flush()
	}
	return t.err
}
