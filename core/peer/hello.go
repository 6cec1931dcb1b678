package peer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/pki"
)

// ALPN is the protocol's name.
const ALPN = "meridian-peer/1"

// The versions of the frames that this package speaks.
const (
	lowest  = 1
	highest = 1
)

// Why a handshake is refused. Both sides log it.
var (
	// ErrFleet: the other node is of another fleet.
	ErrFleet = errors.New("another fleet")
	// ErrName: the certificate does not name the node, or another node was reached than dialled.
	ErrName = errors.New("not the node it should be")
	// ErrStore: membership does not expect the node, or not with this store.
	ErrStore = errors.New("not expected")
	// ErrVersion: there is no version that both speak.
	ErrVersion = errors.New("no version in common")
	// ErrGone: there is no such snapshot any more.
	ErrGone = errors.New("snapshot is gone")
	// ErrPlan: the other node began, or is to begin, a fleet that is defined differently.
	ErrPlan = errors.New("another plan")
	// ErrFailed: the other side failed.
	ErrFailed = errors.New("failed")
)

// reasons are refusals as they travel; append only.
var reasons = []error{nil, ErrFailed, ErrFleet, ErrName, ErrStore, ErrVersion, ErrGone, shard.ErrBusy, ErrPlan}

type purpose uint64

const (
	forRaft     purpose = 1
	forSnapshot purpose = 2
)

// An Incarnation is a shard's, beyond its first.
type Incarnation struct {
	Shard       shard.ID
	Incarnation uint64
}

// maxIncarnations bounds how many a handshake tells.
const maxIncarnations = 32 << 10

// maxName bounds the names in a Hello, in bytes.
const maxName = 255

type hello struct {
	low, high     uint64
	purpose       purpose
	fleet         string
	node, dialled shard.Node
	store         shard.StoreID
	version       uint64
	incarnations  []Incarnation
	plan          string // empty: not compared, as with nodes that do not know of it
}

func (h *hello) append(b []byte) []byte {
	return appendFrame(b, typeHello, func(b []byte) []byte {
		b = binary.AppendUvarint(b, h.low)
		b = binary.AppendUvarint(b, h.high)
		b = binary.AppendUvarint(b, uint64(h.purpose))
		b = appendString(b, h.fleet)
		b = appendString(b, h.node)
		b = appendString(b, h.dialled)
		b = append(b, h.store[:]...)
		b = binary.AppendUvarint(b, h.version)
		b = appendIncarnations(b, h.incarnations)
		if h.plan != "" {
			b = appendString(b, h.plan)
		}
		return b
	})
}

func (h *hello) decode(b []byte) error {
	p := body{b: b}
	h.low, h.high = p.number(), p.number()
	h.purpose = purpose(p.number())
	h.fleet = string(p.string())
	h.node, h.dialled = shard.Node(p.string()), shard.Node(p.string())
	copy(h.store[:], p.bytes(uint64(len(h.store))))
	h.version = p.number()
	h.incarnations = p.incarnations()
	if len(p.b) > 0 {
		h.plan = string(p.string())
	}
	// What is said of a dialler is logged, and remembered for a while.
	if p.bad || max(len(h.fleet), len(h.node), len(h.dialled), len(h.plan)) > maxName {
		return fmt.Errorf("%w: Hello", ErrMalformed)
	}
	return nil
}

type welcome struct {
	used         uint64
	store        shard.StoreID
	version      uint64
	incarnations []Incarnation
}

func (w *welcome) append(b []byte) []byte {
	return appendFrame(b, typeWelcome, func(b []byte) []byte {
		b = binary.AppendUvarint(b, w.used)
		b = append(b, w.store[:]...)
		b = binary.AppendUvarint(b, w.version)
		return appendIncarnations(b, w.incarnations)
	})
}

func (w *welcome) decode(b []byte) error {
	p := body{b: b}
	w.used = p.number()
	copy(w.store[:], p.bytes(uint64(len(w.store))))
	w.version = p.number()
	w.incarnations = p.incarnations()
	if p.bad {
		return fmt.Errorf("%w: Welcome", ErrMalformed)
	}
	if w.used < lowest || w.used > highest {
		return fmt.Errorf("%w: the other node chose version %d, this one speaks %d to %d", ErrVersion, w.used, lowest, highest)
	}
	return nil
}

func appendIncarnations(b []byte, list []Incarnation) []byte {
	list = list[:min(len(list), maxIncarnations)]
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, i := range list {
		b = binary.AppendUvarint(b, uint64(i.Shard))
		b = binary.AppendUvarint(b, i.Incarnation)
	}
	return b
}

func (p *body) incarnations() []Incarnation {
	n := p.number()
	if n > maxIncarnations || n > uint64(len(p.b)/2) {
		p.bad = true
		return nil
	}
	var list []Incarnation
	for range n {
		list = append(list, Incarnation{shard.ID(p.number()), p.number()})
	}
	return list
}

// maxText bounds what a refusal says, in bytes.
const maxText = 1 << 10

// appendRefusal appends a Refuse or a Fail.
func appendRefusal(b []byte, t frameType, err error) []byte {
	var reason uint64 = 1
	for i, r := range reasons {
		if r != nil && errors.Is(err, r) {
			reason = uint64(i)
		}
	}
	text := err.Error()
	return appendFrame(b, t, func(b []byte) []byte {
		return appendString(binary.AppendUvarint(b, reason), text[:min(len(text), maxText)])
	})
}

// A RefusedError is what the other node said. It matches its reason.
type RefusedError struct {
	Reason error
	Text   string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("the other node says: %q", e.Text) }
func (e *RefusedError) Unwrap() error { return e.Reason }

// decodeRefusal reads a Refuse or a Fail.
func decodeRefusal(b []byte) error {
	p := body{b: b}
	reason, text := p.number(), string(p.string())
	if p.bad {
		return fmt.Errorf("%w: refusal", ErrMalformed)
	}
	e := &RefusedError{ErrFailed, text}
	if reason > 0 && reason < uint64(len(reasons)) {
		e.Reason = reasons[reason]
	}
	return e
}

// judge says whether a dialler with these names in its certificate is let in.
func (c *Config) judge(h *hello, names []string) error {
	switch {
	case h.fleet != c.Fleet:
		return fmt.Errorf("%w: node %q is of fleet %q, this node of %q; see that both have the same fleet id", ErrFleet, h.node, h.fleet, c.Fleet)
	case max(h.low, lowest) > min(h.high, highest):
		return fmt.Errorf("%w: node %q speaks %d to %d, this node %d to %d; update the older one", ErrVersion, h.node, h.low, h.high, lowest, highest)
	case !pki.IsNode(names, c.Fleet, string(h.node)):
		return badName(h.node, c.Fleet, names)
	case h.dialled != c.Node:
		return fmt.Errorf("%w: node %q dialled %q, this is %q; see the addresses in its configuration", ErrName, h.node, h.dialled, c.Node)
	case h.node == c.Node:
		return fmt.Errorf("%w: two nodes are called %q; give each a name of its own", ErrName, h.node)
	}
	if own := c.Plan(); own != "" && h.plan != "" && own != h.plan {
		return fmt.Errorf("%w: node %q begins its fleet by plan %s, node %q by %s; give all nodes the same nodes, shards, "+
			"and namespaces with their classes, homes and learners, and restart those that differ", ErrPlan, h.node, h.plan, c.Node, own)
	}
	return c.expect(h.node, h.store)
}

func (c *Config) expect(n shard.Node, s shard.StoreID) error {
	if c.Expect == nil {
		return nil
	}
	if err := c.Expect(n, s); err != nil {
		return fmt.Errorf("%w: node %q with store %v: %w", ErrStore, n, s, err)
	}
	return nil
}

func badName(n shard.Node, fleet string, names []string) error {
	want := pki.Name{Fleet: fleet, Role: pki.Node, Name: string(n)}
	return fmt.Errorf("%w: the certificate names %q, not %q; issue one for node %s", ErrName, names, want, n)
}
