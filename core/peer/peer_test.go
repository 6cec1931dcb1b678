package peer

import (
	"testing"

	"github.com/meridian-relay/meridian/core/shard"
)

// Messages flow both ways, in order, and beats tell who is alive.
func TestMessagesAndBeats(t *testing.T) {
	t.Parallel()
	s := newStage(t)
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
		return a.peers.Version("b") == 7 && b.peers.Version("a") == 7 && a.peers.Stats().Nodes[0].RTT > 0
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
}
