package peer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
)

// A member that asks for a snapshot and then does nothing, or asks for more and never reads, does
// not keep its slot, and the leader learns of it.
func TestStuckReader(t *testing.T) {
	needs := bytes.Repeat(appendFrame(nil, typeNeed, nil), 8)
	for name, says := range map[string][]byte{"silent": nil, "deaf": needs} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, s *stage) {
				var states shelf
				states.put(9, newState(60, 1<<20))
				a := s.play("a", setup{edit: func(c *Config) {
					c.Snapshot, c.ChunkSize, c.Snapshots, c.Patience = states.snapshot, 1<<20, 1, 3*time.Second
					c.SnapshotRate = 1 << 30
				}})
				session, stream, _ := s.greet(a, forSnapshot)
				a.peers.handouts.announce(shard.Replica{Shard: 3, Number: 1}, 2, 9)
				question := (&ask{shard: 3, to: 2, snapshot: 9, at: place}).append(nil)
				if _, err := stream.Write(append(question, says...)); err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				if err := receive(t, a.ended, "FetchEnded"); err == nil {
					t.Error("fetched")
				}
				until(t, "snapshots are closed", func() bool { return states.open.Load() == 0 })
				ends(t, session)
				if took := time.Since(begin); took < 3*time.Second || took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// A fetch from a node that lives and sends nothing, whose disk hangs, comes to an end: another
// leader may have the state too.
func TestFetchFromAHangingDisk(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		p := newPair(s, func(c *Config) { c.Patience = 3 * time.Second })
		p.shelf.put(9, newState(2000, 100))
		hold := make(chan struct{})
		defer close(hold)
		chunks := 0
		p.shelf.chunk = func() error {
			if chunks++; chunks == 10 {
				<-hold
			}
			return nil
		}
		got := make(chan error, 1)
		begin := time.Now()
		go func() {
			var st staging
			got <- p.node.peers.Fetch(t.Context(), fetchOf(9), &st)
		}()
		if err := receive(t, got, "the end of the fetch"); err == nil {
			t.Error("fetched")
		}
		if took := time.Since(begin); took < 3*time.Second || took > 8*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A fetch that waits for others to end is not without progress.
func TestFetchWaitsItsTurn(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		p := &pair{shelf: new(shelf), stage: s}
		edit := func(c *Config) {
			quick(c)
			c.Snapshot, c.ChunkSize, c.Patience = p.shelf.snapshot, 32<<10, 2*time.Second
			if c.SnapshotRate = 128 << 10; c.Node == "a" {
				c.Snapshots = 1
			}
		}
		p.leader, p.node = s.play("a", setup{edit: edit}), s.play("b", setup{edit: edit})
		p.leader.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{announce()}})
		p.node.next()
		want := newState(1000, 1000) // 8 s
		got := make(chan error, 2)
		for i := range uint64(2) {
			p.shelf.put(i, want)
			go func() {
				var st staging
				err := p.node.peers.Fetch(t.Context(), fetchOf(i), &st)
				st.complete(t, want)
				got <- err
			}()
		}
		for range 2 {
			if err := <-got; err != nil {
				t.Error(err)
			}
		}
	})
}

// What a dialler says is not told, nor remembered, at any length.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	for _, h := range []hello{{fleet: long, node: "b", dialled: "a"}, {fleet: "test", node: shard.Node(long), dialled: "a"},
		{fleet: "test", node: "b", dialled: shard.Node(long)}} {
		frame := h.append(nil)
		_, b, err := newFrameReader(bytes.NewReader(frame)).next()
		if err != nil {
			t.Fatal(err)
		}
		var got hello
		if err := got.decode(b); err == nil {
			t.Errorf("a Hello with names of %d, %d and %d bytes", len(got.fleet), len(got.node), len(got.dialled))
		}
	}
}
