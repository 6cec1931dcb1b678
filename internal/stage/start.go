package main

import (
	"errors"
	"fmt"
	"os"
)

// started is where everything is.
type started struct {
	Edges  []place  `json:"edges"`
	Hashes []string `json:"hashes"` // SHA-256 of the certificates, hexadecimal
}

// A place is one edge's addresses; they stay the same while it is down.
type place struct {
	Name string `json:"name"`
	URL  string `json:"url"`  // https: WebTransport, and WebSocket with TLS
	HTTP string `json:"http"` // http: WebSocket without
	Ops  string `json:"ops"`  // http, not over the path: metrics
}

// start starts the home and the edges.
func (s *stage) start(c command) (_ *started, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != "" {
		return nil, errors.New("a stage starts once: run another")
	}
	if s.dir, err = os.MkdirTemp("", "stage"); err != nil {
		return nil, err
	}
	ca, err := newAuthority(s.dir)
	if err != nil {
		return nil, err
	}
	if s.signer, err = ca.newSigner(); err != nil {
		return nil, err
	}
	hash, err := ca.issue("edge")
	if err != nil {
		return nil, err
	}
	if _, err := ca.issue("peer"); err != nil {
		return nil, err
	}
	if s.home, err = newHome(s.ctx, ca, c.Namespaces); err != nil {
		return nil, err
	}
	a := &started{Hashes: []string{hash}}
	for i := range max(c.Edges, 1) {
		e, err := newEdge(s, fmt.Sprintf("edge-%d", i), c.Binary)
		if err != nil {
			return nil, err
		}
		s.edges = append(s.edges, e)
		a.Edges = append(a.Edges, place{e.name, e.url(), "http://" + e.plain.Addr().String(), "http://" + e.ops.String()})
	}
	for _, e := range s.edges {
		others := []string{}
		for _, o := range s.edges {
			if o != e {
				others = append(others, o.url())
			}
		}
		if err := e.configure(s, s.home.address, others, c.Config); err != nil {
			return nil, err
		}
		if err := e.run(); err != nil {
			return nil, err
		}
	}
	return a, nil
}
