package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/internal/wan"
)

// A relayProcess is `meridian dev`, and the folder that its context is in.
type relayProcess struct {
	t      *testing.T
	config string
	URL    string `json:"url"`
	HTTP   string `json:"http"`
	Ops    string `json:"ops"`
}

// startRelay starts `meridian dev` on free ports, until the test ends.
func startRelay(t *testing.T, flags ...string) *relayProcess {
	t.Helper()
	r := &relayProcess{t: t, config: t.TempDir()}
	args := append([]string{"dev", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ops", "127.0.0.1:0",
		"--for", "0s"}, flags...)
	cmd := r.command(context.Background(), args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := &tail{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("meridian dev: %v\n%s", err, stderr)
		}
	})
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("meridian dev said nothing: %v\n%s", err, stderr)
	}
	text, ok := strings.CutPrefix(line, "ready ")
	if !ok {
		t.Fatalf("meridian dev said %q, want ready {json}", line)
	}
	if err := json.Unmarshal([]byte(text), r); err != nil {
		t.Fatalf("meridian dev said %q: %v", line, err)
	}
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	return r
}

// command returns a command of the binary that uses the relay's context. It is killed when ctx
// ends.
func (r *relayProcess) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), "MERIDIAN_CONFIG_DIR="+r.config)
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// path puts a network in front of the relay and returns it and the URL to use instead.
func (r *relayProcess) path() (*wan.Path, string) {
	r.t.Helper()
	u, err := url.Parse(r.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	server, err := netip.ParseAddrPort(u.Host)
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := wan.Open(wan.Config{Server: server})
	if err != nil {
		r.t.Fatal(err)
	}
	run(r.t, p.Run)
	return p, "https://" + p.Addr().String()
}

// A line is what pub and sub print as JSON.
type line struct {
	Epoch, Seq uint64
	Payload    string
	Event      string
	State      string
}

// A tool is a running pub or sub whose lines are read as they come.
type tool struct {
	cmd    *exec.Cmd
	lines  chan line // closed at the end of the output
	stderr *tail
	ended  chan error
}

// start starts a command that prints JSON. A line that is not whole is not a line: the command
// may have been killed while it wrote.
func (r *relayProcess) start(ctx context.Context, in io.Reader, args ...string) *tool {
	r.t.Helper()
	x := &tool{cmd: r.command(ctx, args...), lines: make(chan line, 1000), stderr: &tail{}, ended: make(chan error, 1)}
	x.cmd.Stdin, x.cmd.Stderr = in, x.stderr
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := x.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	go func() {
		defer close(x.lines)
		scan := bufio.NewReader(out)
		for {
			text, err := scan.ReadBytes('\n')
			if err != nil {
				break
			}
			var l line
			if err := json.Unmarshal(text, &l); err != nil {
				r.t.Errorf("%v printed %q: %v", args, text, err)
			}
			x.lines <- l
		}
		x.ended <- x.cmd.Wait()
	}()
	return x
}

// wait waits for the end and fails the test if the command failed.
func (x *tool) wait(t *testing.T) {
	t.Helper()
	if err := <-x.ended; err != nil {
		t.Errorf("%v: %v\n%s", x.cmd.Args, err, x.stderr)
	}
}

// next returns the next line, and fails the test when there is none within d.
func (x *tool) next(t *testing.T, d time.Duration) (line, bool) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case l, ok := <-x.lines:
		return l, ok
	case <-timer.C:
		t.Fatalf("%v printed nothing for %v\n%s", x.cmd.Args, d, x.stderr)
		return line{}, false
	}
}
