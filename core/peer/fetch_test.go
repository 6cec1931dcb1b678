package peer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/wan"
)

// announce is the message that tells member 2 of a snapshot.
func announce() shard.Message {
	typ := raftpb.MsgSnap
	return shard.Message{Shard: 3, From: 1, To: 2, Raft: &raftpb.Message{Type: &typ}}
}

func fetchOf(name uint64) *shard.Fetch {
	return &shard.Fetch{Replica: shard.Replica{Shard: 3, Number: 2}, From: "a", Snapshot: name, At: place}
}

// A pair is a leader's node with a shelf, and a member's, which was told of a snapshot.
type pair struct {
	shelf        *shelf
	stage        *stage
	leader, node *player
}

func newPair(s *stage, edit func(*Config)) *pair {
	p := &pair{shelf: new(shelf), stage: s}
	config := func(c *Config) {
		quick(c)
		c.Snapshot, c.ChunkSize = p.shelf.snapshot, 4<<10
		if edit != nil {
			edit(c)
		}
	}
	p.leader = p.stage.play("a", setup{edit: config})
	p.node = p.stage.play("b", setup{edit: config})
	p.leader.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{announce()}})
	p.node.next()
	return p
}

func (p *pair) closed(t *testing.T) {
	t.Helper()
	until(t, "snapshots are closed", func() bool { return p.shelf.open.Load() == 0 })
}

func TestFetch(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		p := newPair(stage, nil)
		want := newState(2000, 100)
		p.shelf.put(9, want)
		var s staging
		if err := p.node.peers.Fetch(t.Context(), fetchOf(9), &s); err != nil {
			t.Fatal(err)
		}
		s.complete(t, want)
		if err := receive(t, p.leader.ended, "FetchEnded"); err != nil {
			t.Errorf("the leader was told %v", err)
		}
		st := p.leader.peers.Stats()
		if s.kept != 0 || s.put < 50 || st.Sent[Snapshot].Messages != uint64(s.put) || st.Sent[Snapshot].Bytes < 200_000 {
			t.Errorf("kept %d, put %d; %+v", s.kept, s.put, st.Sent)
		}
		p.closed(t)
	})
}

// Only what is lacking travels.
func TestFetchKeepsWhatItHas(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		p := newPair(stage, nil)
		want := newState(4000, 100)
		p.shelf.put(9, want)
		s := staging{present: newState(4000, 100)}
		s.present["key-002000"] = "other"
		delete(s.present, "key-003000")
		s.present["key-003500-more"] = "x"
		if err := p.node.peers.Fetch(t.Context(), fetchOf(9), &s); err != nil {
			t.Fatal(err)
		}
		s.complete(t, want)
		// Each difference costs its chunk and one that is sent without being asked for.
		if s.put > 6 || s.kept < 90 {
			t.Errorf("kept %d chunks, put %d", s.kept, s.put)
		}
		if st := p.leader.peers.Stats(); st.Kept != uint64(s.kept) || st.KeptBytes < 300_000 {
			t.Errorf("%+v", st)
		}
	})
}

// An empty state is one chunk.
func TestFetchOfNothing(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		p := newPair(stage, nil)
		p.shelf.put(9, state{})
		var s staging
		if err := p.node.peers.Fetch(t.Context(), fetchOf(9), &s); err != nil {
			t.Fatal(err)
		}
		s.complete(t, state{})
		if err := receive(t, p.leader.ended, "FetchEnded"); err != nil {
			t.Error(err)
		}
	})
}

// A fetch that fails for good tells both sides why.
func TestFetchFails(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, c := range map[string]struct {
		edit   func(p *pair, f *shard.Fetch, s *staging)
		member error // that the member sees; nil: any
		leader error
	}{
		"no such snapshot": {func(p *pair, f *shard.Fetch, s *staging) { f.Snapshot = 8 }, ErrGone, ErrGone},
		"another place":    {func(p *pair, f *shard.Fetch, s *staging) { f.At.Index++ }, ErrGone, ErrGone},
		"staging": {func(p *pair, f *shard.Fetch, s *staging) {
			s.each = func(s *staging) error {
				if s.put == 3 {
					return broken
				}
				return nil
			}
		}, broken, ErrFailed},
		"reading": {func(p *pair, f *shard.Fetch, s *staging) {
			p.shelf.chunk = func() error { return broken }
		}, ErrFailed, broken},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, stage *stage) {
				p := newPair(stage, nil)
				p.shelf.put(9, newState(500, 100))
				f, s := fetchOf(9), new(staging)
				c.edit(p, f, s)
				if err := p.node.peers.Fetch(t.Context(), f, s); !errors.Is(err, c.member) {
					t.Errorf("the member: %v", err)
				}
				if err := receive(t, p.leader.ended, "FetchEnded"); !errors.Is(err, c.leader) {
					t.Errorf("the leader: %v", err)
				}
				p.closed(t)
			})
		})
	}
}

// A member that gives up tells the leader at once.
func TestFetchGivenUp(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		p := newPair(stage, nil)
		// Without a way's delay all could be there before it has given up.
		stage.network.Both("a", "b", func(w *wan.Way) { w.Delay = 10 * time.Millisecond })
		p.shelf.put(9, newState(5000, 100))
		ctx, cancel := context.WithCancel(t.Context())
		s := staging{each: func(s *staging) error {
			if s.put == 5 {
				cancel()
			}
			return nil
		}}
		if err := p.node.peers.Fetch(ctx, fetchOf(9), &s); !errors.Is(err, context.Canceled) {
			t.Errorf("the member: %v", err)
		}
		begin := time.Now()
		if err := receive(t, p.leader.ended, "FetchEnded"); !errors.Is(err, ErrFailed) {
			t.Errorf("the leader: %v", err)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("the leader was told after %v", took)
		}
	})
}

// A snapshot that nobody asks for, and one whose message was dropped, are over for the leader.
func TestAnnouncementLost(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		p := newPair(stage, func(c *Config) { c.Patience = 100 * time.Millisecond })
		if err := receive(t, p.leader.ended, "FetchEnded"); !errors.Is(err, errNotAsked) {
			t.Errorf("never asked for: %v", err)
		}
		p.node.stopped()
		p.leader.event(event{"b", true})
		p.leader.event(event{"b", false})
		until(t, "the connection has ended", func() bool { return !p.leader.connected("b") })
		p.leader.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{announce()}})
		if err := receive(t, p.leader.ended, "FetchEnded"); !errors.Is(err, errNotSent) {
			t.Errorf("dropped: %v", err)
		}
	})
}

// A member that is told of a snapshot again and again, and does not come for it, does not keep it.
func TestRemindersGiveNoTime(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		p := newPair(stage, func(c *Config) { c.Patience = time.Second })
		for range 30 {
			time.Sleep(100 * time.Millisecond)
			p.leader.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{announce()}})
		}
		select {
		case err := <-p.leader.ended:
			if !errors.Is(err, errNotAsked) {
				t.Errorf("the leader was told %v", err)
			}
		default:
			t.Error("the leader was told nothing in 3 s")
		}
	})
}

// No more than two go out at once, and no faster than allowed.
func TestSnapshotsAreBounded(t *testing.T) {
	simulate(t, func(t *testing.T, stage *stage) {
		const rate, size = 1 << 20, 400_000
		p := newPair(stage, func(c *Config) {
			c.SnapshotRate = rate
			if c.Node == "b" {
				c.Snapshots = 8
			}
		})
		want := newState(size/100, 90)
		var most, now atomic.Int64
		p.shelf.chunk = func() error {
			most.Store(max(most.Load(), now.Load()))
			return nil
		}
		var wg sync.WaitGroup
		begin := time.Now()
		for i := range uint64(4) {
			p.shelf.put(i, want)
			wg.Go(func() {
				var s staging
				s.each = func(s *staging) error {
					now.Store(int64(p.leader.peers.Stats().Serving))
					return nil
				}
				if err := p.node.peers.Fetch(t.Context(), fetchOf(i), &s); err != nil {
					t.Error(err)
				}
				s.complete(t, want)
			})
		}
		wg.Wait()
		sent := p.leader.peers.Stats().Sent[Snapshot].Bytes
		least := time.Duration(float64(sent-rate/8) / rate * float64(time.Second))
		if took := time.Since(begin); took < least || took > least+2*time.Second {
			t.Errorf("%d bytes in %v, want %v and little more", sent, took, least)
		}
		if most.Load() > 2 {
			t.Errorf("%d snapshots at once, at most 2", most.Load())
		}
	})
}
