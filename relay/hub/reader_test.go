package hub

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
	"google.golang.org/protobuf/encoding/protowire"
)

func keyOf(b []byte) []byte { return wire.Key(b) }

func at(epoch, seq int) relay.Position {
	return relay.Position{Epoch: relay.Epoch(epoch), Seq: relay.Seq(seq)}
}

const news relay.Channel = "chat:news"

var (
	live  = relay.SubscribeRequest{Channel: news}
	first = relay.SubscribeRequest{Channel: news, From: relay.Start{Kind: relay.StartFirst}}
)

func after(epoch, seq int) relay.SubscribeRequest {
	return relay.SubscribeRequest{Channel: news, From: relay.Start{Kind: relay.StartAfter, After: at(epoch, seq)}}
}

// A reader reads a subscription when told to, and holds the seam's promises against it.
type reader struct {
	t      *testing.T
	sub    relay.Subscription
	wakes  atomic.Int64
	owed   atomic.Bool
	extra  atomic.Int64 // wakes that nobody was owed
	spare  int64        // calls of Next while a wake was owed: it may have been under way
	latest bool

	ok     bool
	begun  relay.Position
	at     relay.Position
	head   relay.Position
	got    []relay.Position
	gaps   []relay.Frame
	states []relay.State
	end    *relay.End
	buf    []relay.Frame
}

func read(t *testing.T, h relay.Upstream, r relay.SubscribeRequest) *reader {
	rd := &reader{t: t, latest: r.Mode == relay.Latest}
	rd.owed.Store(true)
	rd.sub = h.Subscribe(r, func() {
		rd.wakes.Add(1)
		if !rd.owed.Swap(false) {
			rd.extra.Add(1)
		}
	})
	return rd
}

// next reads once, up to most bytes, and reports whether all allowed was given.
func (r *reader) next(most int) bool {
	r.t.Helper()
	if r.owed.Swap(true) { // before the call: the wake can come before it returns
		r.spare++
	}
	r.buf = r.sub.Next(r.buf[:0], most)
	n := 0
	for i := range r.buf {
		n += len(r.buf[i].Body)
		r.check(&r.buf[i])
	}
	full := n >= most
	if full {
		r.owed.Store(false)
	}
	return full
}

// drain reads as woken until everything has come to rest.
func (r *reader) drain() *reader {
	r.t.Helper()
	for {
		for !r.owed.Load() && r.next(4<<10) {
		}
		synctest.Wait()
		if r.owed.Load() || r.end != nil {
			return r
		}
	}
}

// drainAll drains readers that read at about the same pace.
func drainAll(rs []*reader) {
	for busy := true; busy; {
		busy = false
		synctest.Wait()
		for _, r := range rs {
			if r.end == nil && !r.owed.Load() {
				r.next(4 << 10)
				busy = true
			}
		}
	}
}

func (r *reader) check(f *relay.Frame) {
	r.t.Helper()
	switch {
	case r.end != nil:
		r.t.Fatalf("%+v after End %v", *f, r.end.Code)
	case !r.ok && f.Kind != relay.KindOK && f.Kind != relay.KindEnd:
		r.t.Fatalf("first frame %+v is neither OK nor End", *f)
	}
	switch f.Kind {
	case relay.KindOK:
		if r.ok {
			r.t.Fatalf("OK twice")
		}
		r.ok, r.begun, r.at, r.head = true, f.At, f.At, f.Next
	case relay.KindMessage:
		if !r.latest && f.At != r.at.Next() {
			r.t.Fatalf("message %v after %v without a gap", f.At, r.at)
		}
		if !r.at.Before(f.At) {
			r.t.Fatalf("message %v after %v", f.At, r.at)
		}
		if err := sayWhere(f); err != nil {
			r.t.Fatal(err)
		}
		r.at = f.At
		r.got = append(r.got, f.At)
	case relay.KindGap:
		if f.At != r.at && f.Reason != relay.GapEpoch {
			r.t.Fatalf("gap after %v at %v", f.At, r.at)
		}
		r.at = prior(f.Next)
		r.gaps = append(r.gaps, *f)
	case relay.KindStatus:
		r.states = append(r.states, f.State)
	case relay.KindEnd:
		r.end = f.End
	}
}

// sayWhere checks a numbered body against its position; other bodies pass.
func sayWhere(f *relay.Frame) error {
	_, _, n := protowire.ConsumeTag(f.Body)
	p, _ := protowire.ConsumeBytes(f.Body[n:])
	if len(p) < 16 {
		return nil
	}
	e, s := binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:])
	if e != uint64(f.At.Epoch) || s != uint64(f.At.Seq) {
		return fmt.Errorf("message %v has the body of %d:%d", f.At, e, s)
	}
	return nil
}

// want fails unless the reader's messages are from the first to the last seq of an epoch.
func (r *reader) want(epoch, from, to int) {
	r.t.Helper()
	if len(r.got) != to-from+1 {
		r.t.Fatalf("got %d messages %v, want %d:%d to %d", len(r.got), brief(r.got), epoch, from, to)
	}
	for i, p := range r.got {
		if p != at(epoch, from+i) {
			r.t.Fatalf("message %d is %v, want %v", i, p, at(epoch, from+i))
		}
	}
	if n := r.extra.Load(); n > r.spare {
		r.t.Fatalf("%d wakes that nobody was owed", n)
	}
}

func brief(p []relay.Position) string {
	if len(p) > 6 {
		return fmt.Sprint(p[:3], "…", p[len(p)-3:])
	}
	return fmt.Sprint(p)
}
