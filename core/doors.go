package core

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/link"
	"github.com/meridian-relay/meridian/relay/wire"
)

// unanswered bounds the publishes of one session that have no answer, in bytes.
const unanswered = 64 << 20

// aheads is how many histories are read ahead of what is sent, at once.
const aheads = 64

// doors serves links: nodes are shown what is here, edges what can be reached from here. Who has
// a certificate of the fleet may do everything.
type doors struct {
	// Set at construction.
	fleet  string
	node   shard.Node
	region relay.Region
	nodes  relay.Upstream // shown to nodes
	edges  relay.Upstream // shown to edges
	known  func(shard.Node) bool
	log    *slog.Logger
	ahead  *link.Ahead // set by init

	mu       sync.Mutex
	sessions map[*link.Server]pki.Role
	leaving  time.Duration // 0: not
	stranded chan struct{} // nil: not; closed when it is over
}

func (d *doors) init() {
	d.sessions = make(map[*link.Server]pki.Role)
	d.ahead = link.NewAhead(aheads)
}

// role tells whose certificate has these names. One without a SPIFFE name is an edge's, unless it
// names a node.
func (d *doors) role(names []string) (pki.Role, bool) {
	role := pki.Edge
	for _, name := range names {
		if strings.HasPrefix(name, "spiffe://") {
			n, ok := pki.Parse(name)
			return n.Role, ok && n.Fleet == d.fleet
		}
		if d.known(shard.Node(name)) {
			role = pki.Node
		}
	}
	return role, true
}

// serve serves one session.
func (d *doors) serve(ctx context.Context, s relay.Session) {
	role, ok := d.role(s.Peer().Names)
	if !ok {
		d.log.Warn("peer refused", "names", s.Peer().Names, "from", s.Peer().Addr, "want", "spiffe://"+d.fleet+"/…")
		s.Close(relay.Forbidden, "the certificate is not of fleet "+d.fleet)
		return
	}
	d.mu.Lock()
	leaving := d.leaving > 0
	d.mu.Unlock()
	if leaving {
		s.Close(relay.GoingAway, "the node is draining")
		return
	}
	up := d.edges
	if role == pki.Node {
		up = d.nodes
	} else if !d.hold(s) {
		s.Close(relay.Done, "")
		return
	}
	server := link.NewServer(link.ServeConfig{
		Session: s, Upstream: up, Ahead: d.ahead, Log: d.log,
		Gate: link.Open{Grant: &relay.Grant{Subject: "fleet", Hop: true}},
		Welcome: &wire.Welcome{
			Edge: string(d.node), Region: string(d.region),
			Limits: &wire.Limits{Payload: wire.MaxPayload, Unanswered: unanswered},
		},
	})
	d.mu.Lock()
	d.sessions[server] = role
	if d.leaving > 0 { // since it was asked for
		server.GoAway(relay.GoingAway, d.leaving, nil)
	}
	d.mu.Unlock()
	if err := server.Run(ctx); err != nil {
		d.log.Debug("link ended", "names", s.Peer().Names, "err", err)
	}
	d.mu.Lock()
	delete(d.sessions, server)
	d.mu.Unlock()
}

// leave asks everybody to go elsewhere.
func (d *doors) leave(within time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leaving = within
	for server := range d.sessions {
		server.GoAway(relay.GoingAway, within, nil)
	}
}

// empty reports whether everybody has gone.
func (d *doors) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sessions) == 0
}
