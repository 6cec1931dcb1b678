package peer

import (
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/wan"
)

// couple is two nodes that follow each other and have heard of each other.
func couple(s *stage, edit func(*Config)) (a, b *player) {
	s.t.Helper()
	a, b = s.play("a", setup{edit: edit}), s.play("b", setup{edit: edit})
	for _, p := range []*player{a, b} {
		p.peers.Follow([]shard.Node{"a", "b"})
	}
	a.event(event{"b", true})
	b.event(event{"a", true})
	until(s.t, "both are connected", func() bool { return a.connected("b") && b.connected("a") })
	return a, b
}

// within waits for an event, which has to come in a span of time from begin.
func (p *player) within(want event, begin time.Time, least, most time.Duration) {
	p.t.Helper()
	p.event(want)
	if took := time.Since(begin); took < least || took > most {
		p.t.Errorf("%s was told %+v after %v, want %v to %v", p.name, want, took, least, most)
	}
}

// delivers checks that a message arrives.
func delivers(from, to *player) {
	from.t.Helper()
	from.peers.Send(shard.Send{To: to.name, Urgent: []shard.Message{numbered(42, 0)}})
	if m := to.next(); m.Raft.GetIndex() != 42 {
		to.t.Errorf("got message %d", m.Raft.GetIndex())
	}
}

// A node that is cut off is lost within a second, its connection is closed after two, and it is
// there again soon after the cut.
func TestCut(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a, b := couple(s, nil)
		s.network.Both("a", "b", func(w *wan.Way) { w.Delay = 10 * time.Millisecond })
		time.Sleep(time.Second)
		for range 3 {
			begin := time.Now()
			s.network.Cut("a", "b", true)
			a.within(event{"b", false}, begin, 750*time.Millisecond, 1200*time.Millisecond)
			b.within(event{"a", false}, begin, 750*time.Millisecond, 1200*time.Millisecond)
			until(t, "the connection is closed", func() bool { return !a.connected("b") && !b.connected("a") })
			if took := time.Since(begin); took > 2200*time.Millisecond {
				t.Errorf("the connection was closed after %v", took)
			}
			// What is sent now is of no use later.
			a.peers.Send(shard.Send{To: "b", Urgent: []shard.Message{numbered(1, 0)}, Bulk: []shard.Message{numbered(2, 0)}})
			time.Sleep(20 * time.Second)

			begin = time.Now()
			s.network.Cut("a", "b", false)
			a.within(event{"b", true}, begin, 0, 3*time.Second)
			b.within(event{"a", true}, begin, 0, 3*time.Second)
			delivers(a, b)
			delivers(b, a)
		}
		if n := a.peers.Stats().Dropped[DropLost]; n != 6 {
			t.Errorf("%d messages dropped, want 6", n)
		}
	})
}

// A way that works in one direction only is none, for either side.
func TestOneWayCut(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a, b := couple(s, nil)
		begin := time.Now()
		s.network.CutWay("a", "b", true)
		b.within(event{"a", false}, begin, 750*time.Millisecond, 1200*time.Millisecond)
		// a hears b until b, which hears no echo, closes the connection that it dialled.
		a.within(event{"b", false}, begin, 2*time.Second, 3500*time.Millisecond)
		time.Sleep(30 * time.Second)
		select {
		case e := <-a.events:
			t.Errorf("a was told %+v during the cut", e)
		case e := <-b.events:
			t.Errorf("b was told %+v during the cut", e)
		default:
		}
		begin = time.Now()
		s.network.CutWay("a", "b", false)
		a.within(event{"b", true}, begin, 0, 3*time.Second)
		b.within(event{"a", true}, begin, 0, 3*time.Second)
		delivers(a, b)
		delivers(b, a)
	})
}

// A short cut costs nothing but the time: nobody is lost, what waited arrives.
func TestShortCut(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a, b := couple(s, nil)
		s.network.Cut("a", "b", true)
		for i := range uint64(100) {
			a.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{numbered(i, 10_000)}})
		}
		time.Sleep(500 * time.Millisecond)
		s.network.Cut("a", "b", false)
		for i := range uint64(100) {
			if m := b.next(); m.Raft.GetIndex() != i {
				t.Fatalf("message %d in the place of %d", m.Raft.GetIndex(), i)
			}
		}
		if st := a.peers.Stats(); st.Connects != 1 || len(a.events) > 0 || len(b.events) > 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A node that was gone without a word, and comes back, is connected at once, wherever the other
// one's attempts stand: it dials, so it is dialled.
func TestRestart(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a, b := couple(s, nil)
		for i := range 6 {
			s.network.Cut("a", "b", true)
			b.stopped() // a does not hear of it
			a.event(event{"b", false})
			time.Sleep(time.Minute + time.Duration(i)*370*time.Millisecond)
			s.network.Cut("a", "b", false)
			b = s.play("b", setup{})
			begin := time.Now()
			b.peers.Follow([]shard.Node{"a"})
			a.within(event{"b", true}, begin, 0, 100*time.Millisecond)
			until(t, "a is connected", func() bool { return a.connected("b") })
			if took := time.Since(begin); took > 100*time.Millisecond {
				t.Errorf("connected after %v", took)
			}
			delivers(a, b)
		}
	})
}

// Round trips are measured, and messages arrive in order, whatever the network does.
func TestBadNetwork(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a, b := couple(s, nil)
		s.network.Both("a", "b", func(w *wan.Way) {
			*w = wan.Way{
				Delay: 40 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.05, Reorder: 0.02,
				Duplicate: 0.02, Corrupt: 0.01, Bandwidth: 4 << 20, MTU: 1400,
			}
		})
		for i := range uint64(300) {
			a.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{numbered(i, 10_000)}})
		}
		for i := range uint64(300) {
			if m := b.next(); m.Raft.GetIndex() != i {
				t.Fatalf("message %d in the place of %d", m.Raft.GetIndex(), i)
			}
		}
		time.Sleep(5 * time.Second)
		st := a.peers.Stats()
		if rtt := st.Nodes[0].RTT; rtt < 80*time.Millisecond || rtt > 200*time.Millisecond {
			t.Errorf("round trip %v", rtt)
		}
		if st.Connects != 1 || len(a.events) > 0 || len(b.events) > 0 {
			t.Errorf("the connection was given up: %+v", st)
		}
	})
}

// A node is not lost for a pause of who listens.
func TestPauseIsForgiven(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		a, _ := couple(s, nil)
		s.network.Cut("a", "b", true)
		time.Sleep(500 * time.Millisecond)
		a.peers.mu.Lock()
		n := a.peers.nodes["b"]
		a.peers.mu.Unlock()
		begin := time.Now()
		n.forgive(400 * time.Millisecond)
		a.within(event{"b", false}, begin, 850*time.Millisecond, 1050*time.Millisecond)
		n.forgive(time.Hour)
		if time.Duration(n.heard.Load()) > time.Since(a.peers.start) {
			t.Error("heard of in the future")
		}
	})
}
