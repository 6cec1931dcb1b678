package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
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

// An edge is a process `meridian serve edge` and the paths that lead to it. Its addresses outlive
// the process. Methods are safe for concurrent use; those that start and end the process wait for one
// another.
type edge struct {
	// Set at construction.
	name   string
	binary string
	config string // a file
	listen netip.AddrPort
	http   netip.AddrPort
	ops    netip.AddrPort
	path   *wan.Path // to listen
	plain  *wan.Path // to http
	ends   []func()  // of the paths

	// Guarded by life.
	life   sync.Mutex
	cmd    *exec.Cmd  // nil: does not run
	exited chan error // one slot

	// Guarded by mu.
	mu   sync.Mutex
	rtt  time.Duration
	cuts [2]bool // by wan.Protocol
}

// newEdge takes addresses for an edge.
func newEdge(s *stage, name, binary string) (*edge, error) {
	e := &edge{name: name, binary: binary, config: s.dir + "/" + name + ".json"}
	for _, p := range []struct {
		server *netip.AddrPort
		path   **wan.Path
	}{{&e.listen, &e.path}, {&e.http, &e.plain}} {
		var err error
		if *p.server, err = s.ports.Take(); err != nil {
			return nil, err
		}
		if *p.path, err = wan.Open(wan.Config{Server: *p.server}); err != nil {
			e.close()
			return nil, err
		}
		e.ends = append(e.ends, background(s.ctx, "path to "+name, (*p.path).Run))
	}
	var err error
	if e.ops, err = s.ports.Take(); err != nil {
		e.close()
	}
	return e, err
}

// url is where clients find the edge.
func (e *edge) url() string { return "https://" + e.path.Addr().String() }

// configure writes the configuration; more overrides what stands here.
func (e *edge) configure(s *stage, home string, others []string, more map[string]any) error {
	file := func(name string) string { return s.dir + "/" + name }
	c := map[string]any{
		"name": e.name, "region": "stage", "listen": e.listen.String(), "http": e.http.String(),
		"ops":   e.ops.String(),
		"grace": "5s", "log": map[string]any{"level": "warn"},
		"quic_keys": file(e.name + ".quic"),
		"tls":       map[string]any{"cert": file("edge.pem"), "key": file("edge.key")},
		"tokens":    map[string]any{"audience": audience, "issuers": []any{map[string]any{"issuer": issuer, "jwks": file("jwks.json")}}},
		"origins":   []string{"*"}, "alternatives": others,
		"upstream": map[string]any{
			"kind": "nodes", "nodes": []string{home}, "links": 1,
			"tls": map[string]any{"ca": file("ca.pem"), "cert": file("peer.pem"), "key": file("peer.key")},
		},
	}
	maps.Copy(c, more)
	b, err := json.Marshal(c) // JSON is YAML
	if err != nil {
		return err
	}
	return os.WriteFile(e.config, b, 0o600)
}

// readyWithin is the longest that a process takes to serve.
const readyWithin = 20 * time.Second

// run starts the process and waits until it serves.
func (e *edge) run() error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.cmd != nil {
		return fmt.Errorf("%s runs already: kill or stop it first", e.name)
	}
	cmd := exec.Command(e.binary, "serve", "edge", "--config", e.config)
	cmd.Stderr = os.Stderr
	// Variables of the tests are no settings of an edge.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MERIDIAN_") })
	program.DieWithUs(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	e.cmd, e.exited = cmd, make(chan error, 1)
	ready := make(chan bool, 1)
	go func(exited chan error) {
		line, _ := bufio.NewReader(out).ReadString('\n') // nothing follows it
		ready <- strings.HasPrefix(line, "ready ")
		exited <- cmd.Wait()
	}(e.exited)
	late := time.NewTimer(readyWithin)
	defer late.Stop()
	select {
	case ok := <-ready:
		if ok {
			return nil
		}
		err = errors.New("ended before it was ready; its stderr says why")
	case <-late.C:
		err = fmt.Errorf("not ready after %v", readyWithin)
	}
	return errors.Join(fmt.Errorf("%s: %w", e.name, err), e.end())
}

// kill ends the process at once, as a crash does.
func (e *edge) kill() error {
	e.life.Lock()
	defer e.life.Unlock()
	return e.end()
}

func (e *edge) end() error {
	if e.cmd == nil {
		return nil
	}
	_ = e.cmd.Process.Kill()
	<-e.exited
	e.cmd = nil
	return nil
}

// stopWithin is the longest that a drain takes, with all that follows it.
const stopWithin = 30 * time.Second

// stop drains the process, and returns when it has ended.
func (e *edge) stop() error {
	e.life.Lock()
	defer e.life.Unlock()
	if e.cmd == nil {
		return fmt.Errorf("%s does not run", e.name)
	}
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	late := time.NewTimer(stopWithin)
	defer late.Stop()
	select {
	case err := <-e.exited:
		e.cmd = nil
		return err
	case <-late.C:
		return errors.Join(fmt.Errorf("%s still runs %v after SIGTERM", e.name, stopWithin), e.end())
	}
}

// cut cuts what is named and restores what is not.
func (e *edge) cut(what string) error {
	cuts, ok := map[string][2]bool{"none": {}, "udp": {wan.UDP: true}, "tcp": {wan.TCP: true}, "both": {true, true}}[what]
	if !ok {
		return fmt.Errorf("cut: %q is not udp, tcp, both or none", what)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cuts = cuts
	e.shape()
	return nil
}

func (e *edge) delay(rtt time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rtt = rtt
	e.shape()
}

func (e *edge) shape() {
	for _, p := range []*wan.Path{e.path, e.plain} {
		for proto, cut := range e.cuts {
			way := wan.Way{Delay: e.rtt / 2, Cut: cut}
			p.Set(wan.Protocol(proto), way, way)
		}
	}
}

func (e *edge) close() {
	_ = e.kill()
	for _, end := range e.ends {
		end()
	}
}
