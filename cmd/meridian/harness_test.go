package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/program"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(program.Main(m.Run, &binary)) }

// patience is the longest that one step of a test takes.
const patience = 30 * time.Second

// A shell runs commands with contexts of their own.
type shell struct {
	t   *testing.T
	dir string // of contexts
	env []string
}

func newShell(t *testing.T) *shell {
	return &shell{t: t, dir: t.TempDir()}
}

// with returns a shell with more environment.
func (s *shell) with(env ...string) *shell {
	more := *s
	more.env = append(append([]string(nil), s.env...), env...)
	return &more
}

func (s *shell) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append([]string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH"), "MERIDIAN_CONFIG_DIR=" + s.dir, "TMPDIR=" + s.dir}, s.env...)
	return cmd
}

// A result is what a command left.
type result struct {
	out, err string
	code     int
}

func (r result) lines() []string {
	return strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
}

// run runs a command to its end.
func (s *shell) run(stdin string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := s.command(ctx, args...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &complaints
	err := cmd.Run()
	if ctx.Err() != nil {
		s.t.Fatalf("meridian %q did not end within %v; stderr:\n%s", args, patience, complaints.String())
	}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		s.t.Fatalf("meridian %q: %v", args, err)
	}
	return result{out.String(), complaints.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must succeed and returns what it printed.
func (s *shell) ok(stdin string, args ...string) result {
	s.t.Helper()
	r := s.run(stdin, args...)
	if r.code != 0 {
		s.t.Fatalf("meridian %q: exit code %d; stderr:\n%s", args, r.code, r.err)
	}
	return r
}

// fails runs a command that must end with code and say want on stderr.
func (s *shell) fails(code int, want, stdin string, args ...string) {
	s.t.Helper()
	r := s.run(stdin, args...)
	if r.code != code || !strings.Contains(r.err, want) {
		s.t.Errorf("meridian %q: exit code %d, want %d; stderr, want %q:\n%s", args, r.code, code, want, r.err)
	}
}

// A process is a command that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.ReadCloser
	reader *bufio.Reader
	err    *complaints
	done   chan error
}

// start starts a command; it ends with the test.
func (s *shell) start(args ...string) *process {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: s.t, cmd: s.command(ctx, args...), err: newComplaints(), done: make(chan error, 1)}
	p.cmd.Stderr = p.err
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.cmd.Stdout = writer
	p.out, p.reader = reader, bufio.NewReader(reader)
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	writer.Close()
	go func() { p.done <- p.cmd.Wait() }()
	s.t.Cleanup(func() {
		cancel()
		reader.Close()
		<-p.done
		if s.t.Failed() {
			s.t.Logf("stderr of meridian %q:\n%s", args, p.err)
		}
	})
	return p
}

// line returns the next line of output.
func (p *process) line() string {
	p.t.Helper()
	type read struct {
		line string
		err  error
	}
	got := make(chan read, 1)
	go func() {
		line, err := p.reader.ReadString('\n')
		got <- read{line, err}
	}()
	select {
	case r := <-got:
		if r.err != nil {
			p.t.Fatalf("read a line: %v; stderr:\n%s", r.err, p.stderr())
		}
		return strings.TrimSuffix(r.line, "\n")
	case <-time.After(patience):
		p.t.Fatalf("no line within %v", patience)
		return ""
	}
}

// stderr is what was written there so far.
func (p *process) stderr() string { return p.err.String() }

// logs waits until text was written on stderr n times.
func (p *process) logs(text string, n int) {
	p.t.Helper()
	late := time.After(patience)
	for strings.Count(p.err.String(), text) < n {
		select {
		case <-p.err.more:
		case <-late:
			p.t.Fatalf("after %v stderr does not have %q %d times:\n%s", patience, text, n, p.err)
		}
	}
}

// complaints is what a process wrote on stderr.
type complaints struct {
	more chan struct{}

	mu sync.Mutex
	b  bytes.Buffer
}

func newComplaints() *complaints { return &complaints{more: make(chan struct{}, 1)} }

func (c *complaints) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
	return c.b.Write(b)
}

func (c *complaints) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// json reads the next line into v.
func (p *process) json(v any) {
	p.t.Helper()
	line := p.line()
	if err := json.Unmarshal([]byte(line), v); err != nil {
		p.t.Fatalf("line %q: %v", line, err)
	}
}

// signal sends a signal.
func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wait waits for the end and returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatalf("still running after %v", patience)
		return 0
	}
}

// ready is what dev and serve edge announce.
type ready struct {
	URL, HTTP, Ops string
	Listen, Peers  string
	Hashes         map[string]string `json:"cert_hashes"`
	Context        string
}

// ready waits for the line.
func (p *process) ready() ready {
	p.t.Helper()
	line := p.line()
	rest, ok := strings.CutPrefix(line, "ready ")
	if !ok {
		p.t.Fatalf("first line %q, want ready {json}", line)
	}
	var r ready
	if err := json.Unmarshal([]byte(rest), &r); err != nil {
		p.t.Fatalf("ready line %q: %v", line, err)
	}
	return r
}

// dev starts a relay on free ports.
func (s *shell) dev(args ...string) (*process, ready) {
	s.t.Helper()
	p := s.start(append([]string{"dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"}, args...)...)
	return p, p.ready()
}
