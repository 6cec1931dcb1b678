// Command stand is a relay to measure pages against: what `meridian dev` runs, a home in memory, a
// hub and an edge in one process, without its limits, and a publisher beside it that costs no
// session. It is driven as internal/stage is: JSON lines on standard input, one answer for each on
// standard output, and it ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/edge"
	"github.com/meridian-relay/meridian/internal/fleet"
	"github.com/meridian-relay/meridian/relay"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "stand:", err)
		os.Exit(1)
	}
}

// A command is one line of input; which fields count depends on Do.
type command struct {
	ID int    `json:"id"`
	Do string `json:"do"` // start, token, publish

	// start
	Namespaces map[string]retention `json:"namespaces"`
	Limited    bool                 `json:"limited"` // the edge's default limits hold

	TTL int `json:"ttl"` // token: milliseconds; 0: three hours

	load // publish
}

// A retention says what a namespace's channels keep. Age has no bound.
type retention struct {
	Bytes uint64 `json:"bytes"` // 0: 64 MiB
}

type answer struct {
	ID    int    `json:"id"`
	Error string `json:"error,omitempty"`
	OK    any    `json:"ok,omitempty"`
}

// A place is where the edge is.
type place struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	HTTP string `json:"http"`
}

// started is what start answers.
type started struct {
	Edges  []place  `json:"edges"` // one
	Hashes []string `json:"hashes"`
}

// run carries out commands, several at a time, until in ends or ctx does.
func run(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &stand{ctx: ctx}
	defer s.group.Wait()
	defer cancel()
	var mu sync.Mutex
	for lines := bufio.NewScanner(in); ctx.Err() == nil && lines.Scan(); {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("command %q: %w", lines.Bytes(), err)
		}
		// start comes first: what follows finds a world.
		do := func() {
			a := answer{ID: c.ID}
			ok, err := s.do(c)
			if a.OK = ok; err != nil {
				a.Error = err.Error()
			}
			mu.Lock()
			defer mu.Unlock()
			_ = json.NewEncoder(out).Encode(a) // who does not listen has closed the input too
		}
		if c.Do == "start" {
			do()
		} else {
			s.group.Go(do)
		}
	}
	return nil
}

// A stand runs one world.
type stand struct {
	ctx   context.Context
	group sync.WaitGroup
	world *fleet.World // nil until start
}

func (s *stand) do(c command) (any, error) {
	switch {
	case c.Do == "start" && s.world == nil:
		return s.start(c)
	case s.world == nil || c.Do == "start":
		return nil, fmt.Errorf("%s: a stand is started once, and first", c.Do)
	case c.Do == "token":
		ttl := time.Duration(c.TTL) * time.Millisecond
		if ttl == 0 {
			ttl = 3 * time.Hour
		}
		return s.world.Token("page", ttl, nil)
	case c.Do == "publish":
		return c.load.publish(s.ctx, s.world.Home())
	}
	return nil, fmt.Errorf("command %q is not one", c.Do)
}

func (s *stand) start(c command) (*started, error) {
	cfg := fleet.Config{HTTP: "127.0.0.1:0", Namespaces: make(map[relay.Namespace]channel.Policy)}
	for name, r := range c.Namespaces {
		cfg.Namespaces[relay.Namespace(name)] = channel.Policy{Age: -1, Bytes: r.Bytes}
	}
	if !c.Limited {
		none := edge.Scope{Sessions: -1, Subscriptions: -1, Publishes: -1, Bytes: -1}
		cfg.Limits = edge.Limits{Session: none, Subject: none, Address: none}
	}
	world, err := fleet.NewWorld(cfg)
	if err != nil {
		return nil, err
	}
	s.world = world
	s.group.Go(func() {
		if err := world.Run(s.ctx); err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, "stand: world:", err)
		}
	})
	urls, hashes := world.URLs(), world.CertHashes()
	return &started{
		Edges:  []place{{"dev", urls.Relay, urls.HTTP}},
		Hashes: []string{hex.EncodeToString(hashes[0][:]), hex.EncodeToString(hashes[1][:])},
	}, nil
}
