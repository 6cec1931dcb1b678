package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/internal/token"
	"github.com/meridian-relay/meridian/internal/wan"
)

// A command is one line of input. Which fields count depends on Do; times are in milliseconds.
type command struct {
	ID int    `json:"id"`
	Do string `json:"do"`

	// start
	Binary     string               `json:"binary"`     // the program meridian
	Namespaces map[string]retention `json:"namespaces"` // of the home
	Edges      int                  `json:"edges"`      // 0: 1
	Config     map[string]any       `json:"config"`     // more settings of each edge

	// token
	Subject string              `json:"subject"` // empty: alice
	Caps    map[string][]string `json:"caps"`    // nil: everything
	TTL     int                 `json:"ttl"`     // 0: an hour; negative: expired already

	// cut, delay, reset, kill, stop, restart, stats: which edge; cut: What is udp, tcp, both or
	// none; home: What is lost, back or restart
	Edge int    `json:"edge"`
	What string `json:"what"`
	RTT  int    `json:"rtt"`

	// publish, history
	Channel string `json:"channel"`
	Count   int    `json:"count"`
	Rate    int    `json:"rate"` // messages a second; 0: as fast as they are taken
	Size    int    `json:"size"` // bytes of a payload, at least; 0: as long as its number
	Key     string `json:"key"`
}

// A retention is a namespace's policy; 0 stands for the relay's default.
type retention struct {
	Age     int    `json:"age"`
	Count   uint64 `json:"count"`
	Bytes   uint64 `json:"bytes"`
	Keyed   bool   `json:"keyed"`
	Payload int    `json:"payload"`
}

// A stage is what the commands act on. Commands may run at the same time.
type stage struct {
	ctx   context.Context
	feeds feeds
	ports wan.Ports

	// Guarded by mu; not changed once started.
	mu     sync.Mutex
	dir    string
	signer *token.Signer
	home   *home
	edges  []*edge
}

func newStage(ctx context.Context) *stage { return &stage{ctx: ctx} }

// close ends every process and forgets every file.
func (s *stage) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var group sync.WaitGroup
	for _, e := range s.edges {
		group.Go(e.close)
	}
	group.Wait()
	if s.home != nil {
		s.home.close()
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
	}
}

var errNotStarted = errors.New("nothing is there yet: start first")

func (s *stage) do(ctx context.Context, c command) (any, error) {
	if c.Do == "start" {
		return s.start(c)
	}
	s.mu.Lock()
	home, edges, signer := s.home, s.edges, s.signer
	s.mu.Unlock()
	if home == nil {
		return nil, errNotStarted
	}
	switch c.Do {
	case "publish":
		return s.feeds.publish(ctx, home.upstream, c)
	case "history":
		return history(ctx, home.upstream(), c.Channel)
	case "token":
		return sign(signer, c)
	case "home":
		return nil, home.change(c.What)
	}
	if c.Edge < 0 || c.Edge >= len(edges) {
		return nil, fmt.Errorf("%s: edge %d: there are %d", c.Do, c.Edge, len(edges))
	}
	e := edges[c.Edge]
	switch c.Do {
	case "cut":
		return nil, e.cut(c.What)
	case "delay":
		e.delay(time.Duration(c.RTT) * time.Millisecond)
		return nil, nil
	case "reset":
		return e.path.Kill() + e.plain.Kill(), nil
	case "kill":
		return nil, e.kill()
	case "stop":
		return nil, e.stop()
	case "restart":
		return nil, e.run()
	case "stats":
		return []any{e.path.Stats(), e.plain.Stats()}, nil
	}
	return nil, fmt.Errorf("command %q is not one", c.Do)
}

// Names in the tokens.
const (
	issuer   = "https://stage.test"
	audience = "stage"
)

func sign(signer *token.Signer, c command) (string, error) {
	claims := token.Claims{
		Issuer: issuer, Audience: audience, Subject: c.Subject, Capabilities: c.Caps,
		Lifetime: time.Duration(c.TTL) * time.Millisecond,
	}
	if claims.Subject == "" {
		claims.Subject = "alice"
	}
	if claims.Capabilities == nil {
		claims.Capabilities = map[string][]string{"*": {"subscribe", "publish", "history"}}
	}
	return signer.Sign(claims)
}
