package peer

import (
	"errors"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/internal/wan"
)

// slow is a pair on a way of 10 ms and 1 MB/s, and a state that takes some 2 s on it.
func slow(t *testing.T, s *stage) (p *pair, want state) {
	t.Helper()
	p = &pair{shelf: new(shelf), stage: s}
	edit := func(c *Config) { c.Snapshot, c.ChunkSize = p.shelf.snapshot, 32<<10 }
	p.leader, p.node = s.play("a", setup{edit: edit}), s.play("b", setup{edit: edit})
	p.leader.peers.Send(shard.Send{To: "b", Bulk: []shard.Message{announce()}})
	p.node.next()
	s.network.Both("a", "b", func(w *wan.Way) { w.Delay, w.Bandwidth = 10*time.Millisecond, 1<<20 })
	want = newState(2000, 1000)
	p.shelf.put(9, want)
	return p, want
}

// A fetch goes on after cuts where it stood, and the leader learns of its end once.
func TestFetchResumes(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		p, want := slow(t, s)
		cuts := 0
		st := staging{each: func(st *staging) error {
			if st.put%20 == 10 {
				cuts++
				s.network.Cut("a", "b", true)
				time.AfterFunc(6*time.Second, func() { s.network.Cut("a", "b", false) })
			}
			return nil
		}}
		if err := p.node.peers.Fetch(t.Context(), fetchOf(9), &st); err != nil {
			t.Fatal(err)
		}
		st.complete(t, want)
		chunks := (2000*1010 + 32<<10 - 1) / (32 << 10)
		if cuts < 3 || st.put > chunks+1 {
			t.Errorf("%d cuts, %d chunks for a state of %d", cuts, st.put, chunks)
		}
		if n := p.node.peers.Stats().Resumed; n < uint64(cuts) {
			t.Errorf("resumed %d times, cut %d times", n, cuts)
		}
		if err := receive(t, p.leader.ended, "FetchEnded"); err != nil {
			t.Errorf("the leader was told %v", err)
		}
		time.Sleep(time.Minute)
		if len(p.leader.ended) > 0 {
			t.Errorf("the leader was told again: %v", <-p.leader.ended)
		}
		p.closed(t)
	})
}

// After a cut for too long both sides give up.
func TestFetchCutForGood(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		p, _ := slow(t, s)
		var begin time.Time
		st := staging{each: func(st *staging) error {
			if st.put == 10 {
				begin = time.Now()
				s.network.Cut("a", "b", true)
			}
			return nil
		}}
		if err := p.node.peers.Fetch(t.Context(), fetchOf(9), &st); err == nil {
			t.Fatal("fetched through a cut")
		}
		if took := time.Since(begin); took < 15*time.Second || took > 25*time.Second {
			t.Errorf("the member gave up after %v", took)
		}
		if err := receive(t, p.leader.ended, "FetchEnded"); !errors.Is(err, errNotAsked) {
			t.Errorf("the leader was told %v", err)
		}
		if took := time.Since(begin); took > 25*time.Second {
			t.Errorf("the leader gave up after %v", took)
		}
		p.closed(t)
	})
}

// Who comes back before the cut was noticed is served: nobody else reads then.
func TestFetchAgainAtOnce(t *testing.T) {
	simulate(t, func(t *testing.T, s *stage) {
		p, want := slow(t, s)
		first, second := make(chan error, 1), make(chan error, 1)
		began := make(chan struct{})
		go func() {
			st := staging{each: func(st *staging) error {
				if st.put == 5 {
					close(began)
				}
				return nil
			}}
			first <- p.node.peers.Fetch(t.Context(), fetchOf(9), &st)
		}()
		<-began
		go func() {
			var st staging
			err := p.node.peers.Fetch(t.Context(), fetchOf(9), &st)
			st.complete(t, want)
			second <- err
		}()
		// Each takes the other's place until one has all; both go on.
		if err := <-second; err != nil {
			t.Error(err)
		}
		if err := <-first; err != nil {
			t.Error(err)
		}
	})
}
