package client

import (
	"errors"
	"testing"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

func at(epoch, seq uint64) relay.Position {
	return relay.Position{Epoch: relay.Epoch(epoch), Seq: relay.Seq(seq)}
}

func okFrame(p, head relay.Position) relay.Frame {
	return relay.Frame{Kind: relay.KindOK, At: p, Next: head}
}

func messageFrame(p relay.Position) relay.Frame {
	return relay.Frame{Kind: relay.KindMessage, At: p, Body: wire.AppendStamp(nil, "someone", 1)}
}

func gapFrame(after, next relay.Position, why relay.GapReason) relay.Frame {
	return relay.Frame{Kind: relay.KindGap, At: after, Next: next, Reason: why}
}

// A trackStep is a frame and what becomes of it.
type trackStep struct {
	frame   relay.Frame
	event   bool
	verdict trackVerdict
	last    relay.Position
}

func TestTrack(t *testing.T) {
	for _, test := range []struct {
		name    string
		options SubscribeOptions
		steps   []trackStep
	}{
		{"in order", SubscribeOptions{}, []trackStep{
			{okFrame(at(1, 4), at(1, 4)), true, trackOn, at(1, 4)},
			{messageFrame(at(1, 5)), true, trackOn, at(1, 5)},
			{messageFrame(at(1, 6)), true, trackOn, at(1, 6)},
		}},
		{"the overlap of a second session", SubscribeOptions{}, []trackStep{
			{okFrame(at(1, 4), at(1, 4)), true, trackOn, at(1, 4)},
			{messageFrame(at(1, 5)), true, trackOn, at(1, 5)},
			{okFrame(at(1, 4), at(1, 6)), true, trackOn, at(1, 5)},
			{messageFrame(at(1, 5)), false, trackOn, at(1, 5)},
			{messageFrame(at(1, 6)), true, trackOn, at(1, 6)},
		}},
		{"a hole", SubscribeOptions{}, []trackStep{
			{okFrame(at(1, 4), at(1, 4)), true, trackOn, at(1, 4)},
			{messageFrame(at(1, 6)), false, trackHole, at(1, 4)},
			{messageFrame(at(1, 5)), true, trackOn, at(1, 5)},
			{messageFrame(at(1, 7)), false, trackHole, at(1, 5)},
		}},
		{"another epoch without a gap", SubscribeOptions{}, []trackStep{
			{okFrame(at(1, 4), at(1, 4)), true, trackOn, at(1, 4)},
			{messageFrame(at(2, 1)), false, trackHole, at(1, 4)},
		}},
		{"a channel that did not exist", SubscribeOptions{}, []trackStep{
			{okFrame(at(0, 0), at(0, 0)), true, trackOn, at(0, 0)},
			{messageFrame(at(9, 1)), true, trackOn, at(9, 1)},
		}},
		{"gaps", SubscribeOptions{}, []trackStep{
			{okFrame(at(1, 4), at(1, 4)), true, trackOn, at(1, 4)},
			{gapFrame(at(1, 4), at(1, 8), relay.GapTrimmed), true, trackOn, at(1, 7)},
			{gapFrame(at(1, 4), at(1, 8), relay.GapTrimmed), false, trackOn, at(1, 7)},
			{messageFrame(at(1, 8)), true, trackOn, at(1, 8)},
			{gapFrame(at(1, 8), at(2, 1), relay.GapEpoch), true, trackOn, at(2, 0)},
			{messageFrame(at(2, 1)), true, trackOn, at(2, 1)},
		}},
		{"a home that began again below", SubscribeOptions{}, []trackStep{
			{okFrame(at(5, 90), at(5, 90)), true, trackOn, at(5, 90)},
			{gapFrame(at(5, 90), at(5, 3), relay.GapEpoch), true, trackOn, at(5, 2)},
			{messageFrame(at(5, 3)), true, trackOn, at(5, 3)},
		}},
		{"latest skips without a gap", SubscribeOptions{Mode: relay.Latest}, []trackStep{
			{okFrame(at(1, 4), at(1, 4)), true, trackOn, at(1, 4)},
			{messageFrame(at(1, 9)), true, trackOn, at(1, 9)},
			{messageFrame(at(1, 8)), false, trackOn, at(1, 9)},
		}},
		{"a limit", SubscribeOptions{Limit: 2}, []trackStep{
			{okFrame(at(1, 0), at(1, 9)), true, trackOn, at(1, 0)},
			{messageFrame(at(1, 1)), true, trackOn, at(1, 1)},
			{messageFrame(at(1, 2)), true, trackDone, at(1, 2)},
		}},
		{"a limit's head, of the first session", SubscribeOptions{Limit: 20}, []trackStep{
			{okFrame(at(1, 0), at(1, 2)), true, trackOn, at(1, 0)},
			{messageFrame(at(1, 1)), true, trackOn, at(1, 1)},
			{okFrame(at(1, 1), at(1, 99)), true, trackOn, at(1, 1)},
			{messageFrame(at(1, 2)), true, trackDone, at(1, 2)},
		}},
		{"a limit on nothing", SubscribeOptions{Limit: 20}, []trackStep{
			{okFrame(at(1, 2), at(1, 2)), true, trackDone, at(1, 2)},
		}},
		{"a limit whose head was trimmed meanwhile", SubscribeOptions{Limit: 20}, []trackStep{
			{okFrame(at(1, 0), at(1, 5)), true, trackOn, at(1, 0)},
			{gapFrame(at(1, 0), at(1, 8), relay.GapTrimmed), true, trackDone, at(1, 7)},
		}},
	} {
		tr := newTrack("demo:x", test.options)
		for i, s := range test.steps {
			e, verdict, err := tr.take(&s.frame)
			if err != nil || (e != nil) != s.event || verdict != s.verdict || tr.last != s.last {
				t.Errorf("%s, step %d: event %+v, verdict %d, last %v, %v; want %+v", test.name, i, e, verdict, tr.last, err, s)
			}
		}
	}
}

// TestTrackSaysWhatIsVoid: a new epoch may undo what was yielded; other gaps never do.
func TestTrackSaysWhatIsVoid(t *testing.T) {
	for reason, want := range map[relay.GapReason]relay.Position{relay.GapEpoch: at(1, 2), relay.GapTrimmed: at(1, 4)} {
		tr := newTrack("demo:x", SubscribeOptions{})
		ok, gap := okFrame(at(1, 4), at(1, 4)), gapFrame(at(1, 2), at(2, 1), reason)
		_, _, _ = tr.take(&ok)
		e, _, _ := tr.take(&gap)
		if g, ok := e.(*Gap); !ok || g.After != want || g.Next != at(2, 1) {
			t.Errorf("%v: %+v; want after %v", reason, e, want)
		}
	}
}

func TestTrackAsksForTheRest(t *testing.T) {
	tr := newTrack("demo:x", SubscribeOptions{From: relay.Start{Kind: relay.StartLast, Count: 9}, Limit: 5, Barrier: true})
	if r := tr.request(); r.From.Kind != relay.StartLast || r.Limit != 5 || !r.Barrier {
		t.Errorf("first request %+v", r)
	}
	ok, m := okFrame(at(1, 1), at(1, 9)), messageFrame(at(1, 2))
	_, _, _ = tr.take(&ok)
	_, _, _ = tr.take(&m)
	want := relay.Start{Kind: relay.StartAfter, After: at(1, 2)}
	if r := tr.request(); r.From != want || r.Limit != 4 || r.Barrier {
		t.Errorf("next request %+v", r)
	}
}

func TestTrackGivesUpOnTheSecondHole(t *testing.T) {
	tr := newTrack("demo:x", SubscribeOptions{})
	ok, m := okFrame(at(1, 1), at(1, 1)), messageFrame(at(1, 3))
	_, _, _ = tr.take(&ok)
	if _, verdict, err := tr.take(&m); verdict != trackHole || err != nil {
		t.Fatal(verdict, err)
	}
	if _, _, err := tr.take(&m); !errors.Is(err, ErrBroken) {
		t.Fatalf("%v; want ErrBroken", err)
	}
}

func TestTrackRefusesBrokenMessages(t *testing.T) {
	tr := newTrack("demo:x", SubscribeOptions{})
	ok, m := okFrame(at(1, 1), at(1, 1)), relay.Frame{Kind: relay.KindMessage, At: at(1, 2), Body: []byte{0xff}}
	_, _, _ = tr.take(&ok)
	if _, _, err := tr.take(&m); err == nil {
		t.Fatal("a body that is no message passed")
	}
}
