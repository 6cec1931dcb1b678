package fleet

import (
	"bufio"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/internal/wan"
)

// LocalConfig configures a Local.
type LocalConfig struct {
	Binary       string // the program, of which serve core and serve edge are run
	Dir          string // certificates, configurations and data
	Nodes, Edges int
	Out          io.Writer // what the processes write, each line with its name before it
	// Grace is how long processes may take to end, before they are killed. 0: 30 s; they drain for 5.
	Grace time.Duration
}

// A Local is a fleet of processes on this machine. Ports stay the same while processes come and
// go.
type Local struct {
	// Set at construction.
	cfg    LocalConfig
	list   []*process
	signer *token.Signer
	out    sync.Mutex

	mu      sync.Mutex
	ctx     context.Context // of Run
	group   sync.WaitGroup
	stopped bool
}

// A process is a node or an edge.
type process struct {
	name   string
	kind   string // core or edge
	listen string
	ops    string
	data   string // a core's

	// Guarded by Local.mu.
	cmd *exec.Cmd // nil: it does not run
}

const localFleet = "local"

// NewLocal writes what the processes need.
func NewLocal(c LocalConfig) (*Local, error) {
	if c.Nodes < 1 || c.Nodes > 9 || c.Edges < 0 || c.Edges > 9 {
		return nil, fmt.Errorf("%d nodes and %d edges: write 1 to 9 nodes, and up to 9 edges", c.Nodes, c.Edges)
	}
	c.Grace = cmp.Or(c.Grace, 30*time.Second)
	l := &Local{cfg: c}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	for i := range c.Nodes {
		l.list = append(l.list, &process{name: fmt.Sprint("n", i+1), kind: "core"})
	}
	for i := range c.Edges {
		l.list = append(l.list, &process{name: fmt.Sprint("e", i+1), kind: "edge"})
	}
	if _, err := os.Stat(l.file(fmt.Sprintf("n%d.data", c.Nodes+1))); err == nil {
		return nil, fmt.Errorf("%s began with more than %d nodes; ask for as many, or take another folder", c.Dir, c.Nodes)
	}
	authority, err := l.authority()
	if err != nil {
		return nil, err
	}
	if err := l.newSigner(); err != nil {
		return nil, err
	}
	var ports wan.Ports
	for _, p := range l.list {
		for _, address := range []*string{&p.listen, &p.ops} {
			at, err := ports.Take()
			if err != nil {
				return nil, err
			}
			*address = at.String()
		}
		if err := l.issue(authority, p); err != nil {
			return nil, err
		}
	}
	for _, p := range l.list {
		if err := l.configure(p); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *Local) file(name string) string { return filepath.Join(l.cfg.Dir, name) }

// CA is the file of the certificate that clients have to trust.
func (l *Local) CA() string { return l.file("ca.pem") }

// Edges returns the URLs of the edges, for clients.
func (l *Local) Edges() []string {
	return l.urls("edge", "https://", func(p *process) string { return p.listen })
}

// Nodes returns the URLs of the nodes' listeners for operators.
func (l *Local) Nodes() []string {
	return l.urls("core", "http://", func(p *process) string { return p.ops })
}

func (l *Local) urls(kind, scheme string, of func(*process) string) (list []string) {
	for _, p := range l.list {
		if p.kind == kind {
			list = append(list, scheme+of(p))
		}
	}
	return list
}

// Token signs a token that may do everything.
func (l *Local) Token(subject string, lifetime time.Duration) (string, error) {
	return l.signer.Sign(token.Claims{
		Issuer: localFleet, Audience: DevAudience, Subject: subject, Lifetime: lifetime, Capabilities: Everything(),
	})
}

// authority reads the folder's, or makes one.
func (l *Local) authority() (*pki.Authority, error) {
	cert, err := os.ReadFile(l.CA())
	if err == nil {
		key, err := os.ReadFile(l.file("ca.key"))
		if err != nil {
			return nil, err
		}
		return pki.ParseAuthority(cert, key)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	a, err := pki.NewAuthority(localFleet, time.Now())
	if err != nil {
		return nil, err
	}
	certPEM, keyPEM, err := a.Marshal()
	if err != nil {
		return nil, err
	}
	return a, errors.Join(os.WriteFile(l.CA(), certPEM, 0o600), os.WriteFile(l.file("ca.key"), keyPEM, 0o600))
}

func (l *Local) issue(a *pki.Authority, p *process) error {
	role := pki.Node
	if p.kind == "edge" {
		role = pki.Edge
	}
	leaf, err := a.Issue(role, p.name, []string{"127.0.0.1", "localhost"}, 0, time.Now())
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(l.file(p.name+".pem"), leaf.Cert, 0o600), os.WriteFile(l.file(p.name+".key"), leaf.Key, 0o600))
}

func (l *Local) newSigner() error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if l.signer, err = token.NewSigner(key); err != nil {
		return err
	}
	jwks, err := l.signer.JWKS()
	if err != nil {
		return err
	}
	return os.WriteFile(l.file("jwks.json"), jwks, 0o600)
}

// configure writes a process's configuration. JSON is YAML.
func (l *Local) configure(p *process) error {
	type section = map[string]any
	mutual := section{"ca": l.CA(), "cert": l.file(p.name + ".pem"), "key": l.file(p.name + ".key")}
	var nodes []section
	var addresses []string
	for _, o := range l.list {
		if o.kind == "core" {
			nodes = append(nodes, section{"name": o.name, "address": o.listen, "region": "local", "zone": o.name})
			addresses = append(addresses, o.listen)
		}
	}
	c := section{
		"name": p.name, "listen": p.listen, "ops": p.ops, "grace": "5s",
	}
	if p.kind == "core" {
		p.data = l.file(p.name + ".data")
		c["fleet"], c["data"], c["tls"], c["nodes"] = localFleet, p.data, mutual, nodes
		c["namespaces"] = section{"demo": section{"age": "24h", "messages": 2_000_000, "bytes": "1GiB"}}
	} else {
		c["region"], c["tls"] = "local", section{"cert": mutual["cert"], "key": mutual["key"]}
		c["upstream"] = section{"kind": "nodes", "nodes": addresses, "tls": mutual}
		c["tokens"] = section{"issuers": []section{{"issuer": localFleet, "jwks": l.file("jwks.json")}}}
	}
	raw, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(l.file(p.name+".yaml"), append(raw, '\n'), 0o600)
}

// Run runs the fleet until ctx ends, then ends every process.
func (l *Local) Run(ctx context.Context) error {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
	var err error
	for _, p := range l.list {
		if err = l.Start(p.name); err != nil {
			break
		}
	}
	if err == nil {
		<-ctx.Done()
	}
	l.mu.Lock()
	l.stopped = true
	// Edges first: while nodes stand, what clients have sent is answered.
	for _, p := range slices.Backward(l.list) {
		if p.cmd != nil {
			_ = p.cmd.Process.Signal(syscall.SIGTERM)
			_ = p.cmd.Process.Signal(syscall.SIGCONT) // one that is frozen ends too
		}
	}
	l.mu.Unlock()
	hanging := time.AfterFunc(l.cfg.Grace, l.kill)
	l.group.Wait()
	hanging.Stop()
	return err
}

// kill ends what does not end by itself.
func (l *Local) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.list {
		if p.cmd != nil {
			_ = p.cmd.Process.Kill()
		}
	}
}

// Start starts a process that does not run.
func (l *Local) Start(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.find(name)
	if err != nil {
		return err
	}
	if l.stopped || l.ctx == nil {
		return errors.New("the fleet does not run")
	}
	if p.cmd != nil {
		return fmt.Errorf("%s runs already, as process %d", name, p.cmd.Process.Pid)
	}
	args := []string{"serve", p.kind, "--config", l.file(name + ".yaml")}
	if p.kind == "core" {
		args = append(args, l.how(p)...)
	}
	cmd := exec.Command(l.cfg.Binary, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is ours, and ends them in order
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	p.cmd = cmd
	l.say(name, fmt.Sprintf("started as process %d", cmd.Process.Pid))
	l.group.Go(func() { l.copy(name, read) })
	l.group.Go(func() {
		err := cmd.Wait()
		write.Close()
		l.mu.Lock()
		p.cmd = nil
		stopped := l.stopped
		l.mu.Unlock()
		why := "ended"
		if err != nil {
			why = "ended: " + err.Error()
		}
		if !stopped {
			why += fmt.Sprintf("; start it again with: %s fleet start %s", l.cfg.Binary, name)
		}
		l.say(name, why)
	})
	return nil
}

// how returns how a core begins on what its folder has. The first of all begins the fleet; one
// whose beginning was cut short begins as before, and to one that has begun it means nothing.
func (l *Local) how(p *process) []string {
	if _, err := os.Stat(filepath.Join(p.data, "IDENTITY")); err != nil && slices.ContainsFunc(l.list, begun) {
		return []string{"--join"}
	}
	return []string{"--bootstrap"}
}

// begun reports whether a core's beginning has come to its end.
func begun(p *process) bool {
	raw, _ := os.ReadFile(filepath.Join(p.data, "NODE"))
	return p.data != "" && strings.Contains(string(raw), `"begun": true`)
}

// Signal sends a signal to a process.
func (l *Local) Signal(name string, s syscall.Signal) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.find(name)
	if err != nil {
		return err
	}
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", name)
	}
	return p.cmd.Process.Signal(s)
}

func (l *Local) find(name string) (*process, error) {
	var names []string
	for _, p := range l.list {
		if p.name == name {
			return p, nil
		}
		names = append(names, p.name)
	}
	return nil, fmt.Errorf("process %q: there are %s", name, strings.Join(names, ", "))
}

// copy writes what a process says.
func (l *Local) copy(name string, from io.Reader) {
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, _, err := lines.ReadLine() // one that is longer comes in parts
		if err != nil {
			return
		}
		l.say(name, string(line))
	}
}

func (l *Local) say(name, line string) {
	l.out.Lock()
	defer l.out.Unlock()
	fmt.Fprintf(l.cfg.Out, "%-3s| %s\n", name, line)
}
