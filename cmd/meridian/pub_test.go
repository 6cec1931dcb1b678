package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/meridian-relay/meridian/relay"
)

// positions parses lines of text output.
func positions(t *testing.T, lines []string) []relay.Position {
	t.Helper()
	var list []relay.Position
	for _, line := range lines {
		at, err := relay.ParsePosition(line)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, at)
	}
	return list
}

func TestPubInputs(t *testing.T) {
	s := newShell(t)
	s.dev()
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("from\na file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		stdin string
		args  []string
		want  []string // payloads
	}{
		"arguments":    {"ignored", []string{"one", "two"}, []string{"one", "two"}},
		"stdin":        {"a\nb\n", nil, []string{"a\nb\n"}},
		"empty stdin":  {"", nil, []string{""}},
		"lines":        {"a\n\nb\r\nc", []string{"--lines"}, []string{"a", "", "b", "c"}},
		"no lines":     {"", []string{"--lines"}, nil},
		"file":         {"ignored", []string{"--file", file}, []string{"from\na file"}},
		"file by line": {"ignored", []string{"--file", file, "--lines"}, []string{"from", "a file"}},
		"dash":         {"", []string{"--", "-o"}, []string{"-o"}},
	} {
		t.Run(name, func(t *testing.T) {
			channel := "demo:" + strings.ReplaceAll(name, " ", "-")
			r := s.ok(tc.stdin, append([]string{"pub", channel}, tc.args...)...)
			var at []relay.Position
			if r.out != "" {
				at = positions(t, r.lines())
			}
			if len(at) != len(tc.want) {
				t.Fatalf("printed %q, want %d positions", r.out, len(tc.want))
			}
			for i := range at {
				if at[i].Seq != relay.Seq(i+1) {
					t.Errorf("position %d is %v", i, at[i])
				}
			}
			var got []map[string]any
			if len(tc.want) > 0 {
				got = jsonLines(t, s.ok("", "history", channel, "-o", "json").out)
			}
			for i, m := range got {
				if m["payload"] != tc.want[i] {
					t.Errorf("message %d is %q, want %q", i, m["payload"], tc.want[i])
				}
			}
		})
	}
}

// TestPubAsItComes: a line is published and its position printed while the input stays open.
func TestPubAsItComes(t *testing.T) {
	s := newShell(t)
	s.dev()
	pub := s.start("pub", "demo:slow", "--lines", "-o", "json")
	for i := range 5 {
		if _, err := fmt.Fprintf(pub.in, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
		var at position
		if pub.json(&at); at.Seq != relay.Seq(i+1) || at.Epoch == 0 {
			t.Fatalf("line %d stands at %+v", i, at)
		}
	}
	// An interrupt ends it, since all is acknowledged.
	pub.signal(syscall.SIGINT)
	if code := pub.wait(); code != 0 {
		t.Errorf("exit code %d; stderr:\n%s", code, pub.stderr())
	}
	if want := "interrupted: 5 acknowledged, 0 refused, 0 unknown\n"; !strings.Contains(pub.stderr(), want) {
		t.Errorf("stderr %q, want %q", pub.stderr(), want)
	}
}

// TestPubInterrupted: ^C amid a stream without end waits for what was sent, and says no more.
func TestPubInterrupted(t *testing.T) {
	s := newShell(t)
	s.dev()
	pub := s.start("pub", "demo:endless", "--lines")
	go func() {
		for {
			if _, err := io.WriteString(pub.in, strings.Repeat("line\n", 1000)); err != nil {
				return
			}
		}
	}()
	pub.line()
	pub.signal(syscall.SIGINT)
	rest, err := io.ReadAll(pub.reader)
	if code := pub.wait(); code != 0 || err != nil {
		t.Errorf("exit code %d, %v; stderr:\n%s", code, err, pub.stderr())
	}
	printed := 1 + strings.Count(string(rest), "\n")
	if want := fmt.Sprintf("interrupted: %d acknowledged, 0 refused, 0 unknown\n", printed); pub.stderr() != want {
		t.Errorf("stderr %q, want %q", pub.stderr(), want)
	}
	if got := strings.Count(s.ok("", "history", "demo:endless").out, "\n"); got != printed {
		t.Errorf("%d messages stand, %d positions were printed", got, printed)
	}
}

// TestPubSaysThatItWaits: who publishes while the relay is gone is told so, and ^C ends it with
// what is known.
func TestPubSaysThatItWaits(t *testing.T) {
	s := newShell(t)
	dev, _ := s.dev("--grace", "1ms")
	pub := s.start("pub", "demo:a", "--lines")
	if _, err := io.WriteString(pub.in, "first\n"); err != nil {
		t.Fatal(err)
	}
	pub.line()
	dev.signal(syscall.SIGTERM)
	dev.wait()
	pub.logs("reconnecting: ", 1)
	pub.logs("^C gives up", 1)
	if _, err := io.WriteString(pub.in, "second\n"); err != nil {
		t.Fatal(err)
	}
	pub.logs("no answer yet from the home of demo:a", 1) // it was taken
	pub.signal(syscall.SIGINT)
	if code := pub.wait(); code != 1 {
		t.Errorf("exit code %d, want 1: it was not sent", code)
	}
	if want := "interrupted: 1 acknowledged, 0 refused, 0 unknown, 1 not sent"; !strings.Contains(pub.stderr(), want) {
		t.Errorf("stderr %q, want %q", pub.stderr(), want)
	}
}

func TestPubID(t *testing.T) {
	s := newShell(t)
	s.dev()
	first := s.ok("", "pub", "demo:once", "pay", "--id", "order-1").out
	if again := s.ok("", "pub", "demo:once", "pay", "--id", "order-1").out; again != first {
		t.Errorf("the same id stands at %q and %q", first, again)
	}
	if other := s.ok("", "pub", "demo:once", "pay", "--id", "order-2").out; other == first {
		t.Errorf("another id stands at %q too", other)
	}
	s.fails(3, `--id "order-1" is another message's already`, "", "pub", "demo:once", "pay twice", "--id", "order-1")
	s.fails(2, "names one message, not several", "", "pub", "demo:once", "a", "b", "--id", "x")
	s.fails(2, "names one message, not several", "a\nb\n", "pub", "demo:once", "--lines", "--id", "x")
}

func TestPubLineTooLong(t *testing.T) {
	s := newShell(t)
	s.dev()
	for name, size := range map[string]int{"for the relay": 64<<10 + 1, "for any relay": 1<<20 + 1, "by far": 5 << 20} {
		t.Run(name, func(t *testing.T) {
			r := s.run("a\nb\n"+strings.Repeat("x", size)+"\nd\n", "pub", "demo:long", "--lines")
			if r.code != 1 || !strings.Contains(r.err, "line 3 of standard input") {
				t.Errorf("exit code %d, stderr %q; want one that names line 3", r.code, r.err)
			}
			if n := len(r.lines()); n != 2 {
				t.Errorf("%d positions, want those of the two lines before", n)
			}
		})
	}
	if r := s.ok(strings.Repeat("x", 64<<10)+"\n", "pub", "demo:long", "--lines"); len(r.lines()) != 1 {
		t.Errorf("the longest line: %q", r.out)
	}
}

// TestPubRefusedAtHome: positions are printed up to the first message that the home refuses, so
// that lines of input and output match, and those after it are counted.
func TestPubRefusedAtHome(t *testing.T) {
	s := newShell(t)
	file := filepath.Join(t.TempDir(), "dev.yaml")
	if err := os.WriteFile(file, []byte("namespaces: {small: {payload: 1KiB}}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.dev("--config", file)
	r := s.run("a\nb\n"+strings.Repeat("x", 2000)+"\nd\ne\n", "pub", "small:a", "--lines")
	if r.code != 1 || !strings.Contains(r.err, "line 3 of standard input") || len(r.lines()) != 2 {
		t.Errorf("exit code %d, stdout %q, stderr %q; want two positions and line 3", r.code, r.out, r.err)
	}
	stand := len(s.ok("", "history", "small:a").lines())
	if beyond := fmt.Sprintf("(%d messages after it were acknowledged)", stand-2); stand > 2 && !strings.Contains(r.err, beyond) {
		t.Errorf("%d messages stand; stderr %q, want %q", stand, r.err, beyond)
	}
}

// TestBrokenPipes: when the reader of the output is gone, pub and sub end without complaint.
func TestBrokenPipes(t *testing.T) {
	s := newShell(t)
	s.dev()
	var numbers strings.Builder
	for i := range 5000 {
		fmt.Fprintln(&numbers, i)
	}
	for name, args := range map[string][]string{
		"pub":     {"pub", "demo:pipe", "--lines"},
		"sub":     {"sub", "demo:pipe", "--from", "start", "-o", "json"},
		"history": {"history", "demo:pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			s.ok(numbers.String(), "pub", "demo:pipe", "--lines")
			p := s.start(args...)
			go func() {
				w := bufio.NewWriter(p.in)
				for i := range 100_000 {
					if _, err := fmt.Fprintln(w, i); err != nil {
						return
					}
				}
				w.Flush()
				p.in.Close()
			}()
			p.line()
			p.out.Close()
			if code := p.wait(); code != 0 || strings.Contains(p.stderr(), "pipe") {
				t.Errorf("exit code %d; stderr:\n%s", code, p.stderr())
			}
		})
	}
}

func TestPubRate(t *testing.T) {
	s := newShell(t)
	s.dev()
	s.ok("", "pub", "demo:rate", "0") // now the shard has a leader: what waits for one comes at once
	s.ok("", "pub", "demo:rate", "1", "2", "3", "4", "5", "--rate", "20")
	got := jsonLines(t, s.ok("", "history", "demo:rate", "-o", "json").out)
	if first, last := timeOf(t, got[1]), timeOf(t, got[5]); last.Sub(first).Milliseconds() < 150 {
		t.Errorf("five messages at 20/s took %v", last.Sub(first))
	}
}
