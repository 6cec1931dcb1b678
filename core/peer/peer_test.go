package peer

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/wan"
)

// Messages flow both ways, in order, and beats tell who is alive.
func TestMessagesAndBeats(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		s.network.Both("a", "b", func(w *wan.Way) { w.Delay = 10 * time.Millisecond })
		a, b := s.play("a", setup{}), s.play("b", setup{})
		a.peers.Follow([]shard.Node{"a", "b"})
		b.peers.Follow([]shard.Node{"a", "b"})
		a.event(event{"b", true})
		b.event(event{"a", true})
		const n = 1000
		for i := range uint64(n) {
			a.peers.Send(shard.Send{To: "b", Urgent: []shard.Message{numbered(i, 0)}})
			b.peers.Send(shard.Send{To: "a", Bulk: []shard.Message{numbered(i, 1000)}})
		}
		for i := range uint64(n) {
			if m := b.next(); m.Raft.GetIndex() != i {
				t.Fatalf("urgent message %d in the place of %d", m.Raft.GetIndex(), i)
			}
			m := a.next()
			if m.Raft.GetIndex() != i || len(m.Raft.GetEntries()[0].GetData()) != 1000 {
				t.Fatalf("bulk message %d in the place of %d", m.Raft.GetIndex(), i)
			}
		}
		until(t, "versions and round trips are known", func() bool {
			return a.peers.Version("b") == 7 && b.peers.Version("a") == 7 && a.peers.Stats().Nodes[0].RTT >= 20*time.Millisecond
		})
		st := a.peers.Stats()
		if st.Sent[Urgent].Messages < n || st.Received[Bulk].Messages != n || st.Received[Bulk].Bytes < n*1000 {
			t.Errorf("%+v", st)
		}
		for r, n := range st.Dropped {
			if n > 0 {
				t.Errorf("%d messages dropped: %s", n, DropNames[r])
			}
		}
	})
}

// Sockets of the system serve as those of the simulated network do. Silences are long: a machine
// under load is not a network that fails.
func TestLoopback(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	calm := setup{edit: func(c *Config) { c.LostAfter, c.SilentAfter = patience, patience }}
	a, b := s.play("a", calm), s.play("b", calm)
	a.peers.Follow([]shard.Node{"b"})
	b.peers.Follow([]shard.Node{"a"})
	a.event(event{"b", true})
	b.event(event{"a", true})
	delivers(a, b)
	delivers(b, a)
}

// A node says that it should not lead, for as long as it should not.
func TestUnwell(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		var unwell atomic.Bool
		a := s.play("a", setup{edit: func(c *Config) { quick(c); c.Unwell = unwell.Load }})
		b := s.play("b", setup{edit: quick})
		a.peers.Follow([]shard.Node{"a", "b"})
		b.event(event{"a", true})
		if ago, ever := b.peers.Unwell("a"); ever {
			t.Errorf("unwell %v ago, though it never said so", ago)
		}
		unwell.Store(true)
		until(t, "it says that it is unwell", func() bool { _, ever := b.peers.Unwell("a"); return ever })
		unwell.Store(false)
		until(t, "it says so no more", func() bool {
			ago, _ := b.peers.Unwell("a")
			return ago > 200*time.Millisecond
		})
		if _, ever := a.peers.Unwell("b"); ever {
			t.Error("the other is taken for unwell")
		}
	})
}
