package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/meridian-relay/meridian/internal/bench/load"
	"github.com/meridian-relay/meridian/internal/bench/meter"
)

// A process is a child and the pipe to it. Its methods are for one goroutine at a time.
type process struct {
	role   role
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
}

// spawn starts a child: command, and the role as the last argument.
func spawn(ctx context.Context, command []string, r role) (*process, error) {
	args := append(append([]string{}, command[1:]...), string(r))
	cmd := exec.CommandContext(ctx, command[0], args...)
	p := &process{role: r, cmd: cmd, stderr: &tail{}}
	cmd.Stderr = p.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", r, err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, nil
}

// call sends one request and waits for its answer.
func (p *process) call(r request) (answer, error) {
	var a answer
	b, err := json.Marshal(r)
	if err != nil {
		return a, err
	}
	if _, err = p.in.Write(append(b, '\n')); err == nil {
		var line []byte
		if line, err = p.out.ReadBytes('\n'); err == nil {
			err = json.Unmarshal(line, &a)
		}
	}
	switch {
	case err != nil:
		return a, fmt.Errorf("%s: %s: %w; it said: %s", p.role, r.Do, err, p.stderr)
	case a.Error != "":
		return a, fmt.Errorf("%s: %s: %s", p.role, r.Do, a.Error)
	}
	return a, nil
}

func (p *process) do(r request) error {
	_, err := p.call(r)
	return err
}

func (p *process) usage(collect bool) (meter.Usage, error) {
	a, err := p.call(request{Do: "usage", Collect: collect})
	if err != nil {
		return meter.Usage{}, err
	}
	return *a.Usage, nil
}

func (p *process) count() (load.Count, error) {
	a, err := p.call(request{Do: "count"})
	if err != nil {
		return load.Count{}, err
	}
	return *a.Count, nil
}

// freeze stops the process as SIGSTOP does, or lets it go on.
func (p *process) freeze(on bool) error {
	s := syscall.SIGCONT
	if on {
		s = syscall.SIGSTOP
	}
	return p.cmd.Process.Signal(s)
}

// kill ends the process as SIGKILL does.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = p.cmd.Wait() // it says that it was killed
	return nil
}

// end closes the pipe and waits; a child that does not end within 30 s is killed.
func (p *process) end() error {
	_ = p.freeze(false)
	_ = p.in.Close()
	timer := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	err := p.cmd.Wait()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w; it said: %s", p.role, err, p.stderr)
	}
	return nil
}

// A tail keeps the last 4 KiB written to it. Safe for concurrent use: an error quotes it while the
// child may still write.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(b []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > most {
		t.b = append([]byte(nil), t.b[len(t.b)-most:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.b))
}
