package fault

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meridian-relay/meridian/internal/program"
	"github.com/meridian-relay/meridian/internal/wan"
)

// A process is one `meridian serve …`, again and again under the same configuration.
type process struct {
	// Set at construction.
	name string
	args []string
	log  string // a file that its stderr is appended to
	// binary is the program; env is what it has besides the tests' own environment.
	binary string
	env    []string

	mu     sync.Mutex
	cmd    *exec.Cmd     // nil: does not run
	exited chan struct{} // closed once it has ended
	code   int           // it ended with; -1: by a signal
	frozen bool
}

// readyWithin is the longest that a process takes to serve, on a machine that does much else.
const readyWithin = 30 * time.Second

var errNotReady = errors.New("not ready")

// start starts the process and waits until it serves; more are further arguments.
func (p *process) start(more ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	stderr, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer stderr.Close()
	fmt.Fprintf(stderr, "--- %s: start %v\n", time.Now().Format(time.StampMilli), more)
	cmd := exec.Command(p.binary, append(slices.Clone(p.args), more...)...)
	cmd.Stderr = stderr
	// Variables of the tests are no settings of a process.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MERIDIAN_") })
	cmd.Env = append(cmd.Env, p.env...)
	program.DieWithUs(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.cmd, p.exited, p.code, p.frozen = cmd, make(chan struct{}), 0, false
	ready := make(chan bool, 1)
	go func(exited chan struct{}) {
		line, _ := bufio.NewReader(out).ReadString('\n') // nothing follows it
		ready <- strings.HasPrefix(line, "ready ")
		_ = cmd.Wait()
		p.code = cmd.ProcessState.ExitCode()
		close(exited)
	}(p.exited)
	late := time.NewTimer(readyWithin)
	defer late.Stop()
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		<-p.exited
		p.cmd = nil
		return fmt.Errorf("%s ended with code %d: %w; %s", p.name, p.code, errNotReady, p.tail(3))
	case <-late.C:
		p.end()
		return fmt.Errorf("%s: %w after %v; %s", p.name, errNotReady, readyWithin, p.tail(3))
	}
}

// kill ends the process at once, as a crash does.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

func (p *process) end() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.exited
	p.cmd = nil
}

// freeze stops the process where it stands, or lets it go on.
func (p *process) freeze(frozen bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil || p.frozen == frozen {
		return
	}
	p.frozen = frozen
	if frozen {
		_ = p.cmd.Process.Signal(syscall.SIGSTOP)
	} else {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
}

// ended reports whether the process ended by itself within d, and its code.
func (p *process) ended(d time.Duration) (code int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return p.code, true
	}
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-p.exited:
		p.cmd = nil
		return p.code, true
	case <-late.C:
		return 0, false
	}
}

func (p *process) running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// tail returns the last lines that the process wrote.
func (p *process) tail(lines int) string {
	b, _ := os.ReadFile(p.log)
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// ports are for the processes of all fleets: they run beside each other.
var ports wan.Ports
