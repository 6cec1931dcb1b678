package edge

import (
	"maps"
	"slices"
	"sync"

	"github.com/meridian-relay/meridian/relay/link"
)

// A registry knows the sessions that are served. It needs no bound of its own: before Hello
// the transport bounds them, after it Limits.Sessions.
type registry struct {
	mu    sync.Mutex
	known map[*link.Server]*gate
	empty chan struct{} // closed when the last one has gone; nil: nobody waits
}

func (r *registry) add(s *link.Server, g *gate) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known == nil {
		r.known = make(map[*link.Server]*gate)
	}
	r.known[s] = g
}

func (r *registry) remove(s *link.Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, s)
	if len(r.known) == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}

func (r *registry) has(s *link.Server) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.known[s]
	return ok
}

func (r *registry) list() []*link.Server {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.known))
}

// setLimits puts other limits in force for each session.
func (r *registry) setLimits(s Scope) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.known {
		g.own.setLimits(s)
	}
}

// gone returns a channel that is closed once no session is left.
func (r *registry) gone() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.empty == nil {
		r.empty = make(chan struct{})
	}
	done := r.empty
	if len(r.known) == 0 {
		close(r.empty)
		r.empty = nil
	}
	return done
}
