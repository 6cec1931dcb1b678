package edge

import (
	"context"
	"crypto/rand"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// serve serves one client's session until it ends.
func (e *Edge) serve(ctx context.Context, s relay.Session, welcomed func()) {
	gate := e.newGate(s.Peer())
	server := link.NewServer(link.ServeConfig{
		Session:   s,
		Upstream:  e.upstream,
		Gate:      gate,
		Welcome:   e.welcome(),
		Welcomed:  welcomed,
		Delivered: e.count.deliver,
		Log:       e.log,
	})
	e.sessions.add(server, gate)
	// Why a session ended is its own affair; a fault of ours is in the log already.
	_ = server.Run(ctx)
	e.sessions.remove(server)
	gate.leave()
}

// requestStreams is how many streams a session may open beside its first.
const requestStreams = 15

func (e *Edge) welcome() *wire.Welcome {
	l := e.limits.Load()
	return &wire.Welcome{
		Session: rand.Text(),
		Edge:    e.cfg.Name,
		Region:  string(e.cfg.Region),
		Limits: &wire.Limits{
			Payload:       uint64(l.Payload),
			Unanswered:    uint64(l.Unanswered),
			Subscriptions: uint32(max(0, l.Session.Subscriptions)), // 0: no limit
			Streams:       requestStreams,
		},
	}
}
