package relay_test

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

func TestPositionOrder(t *testing.T) {
	list := []relay.Position{{}, {Epoch: 1}, {Epoch: 1, Seq: 1}, {Epoch: 1, Seq: relay.MaxNumber}, {Epoch: 2}, {Epoch: 2, Seq: 9}, {Epoch: 10, Seq: 1}}
	for i, p := range list {
		for j, q := range list {
			if p.Before(q) != (i < j) || (p.Compare(q) == 0) != (i == j) {
				t.Errorf("%v and %v", p, q)
			}
		}
	}
	if !slices.IsSortedFunc(list, relay.Position.Compare) || !list[0].IsZero() || list[1].IsZero() {
		t.Error("order")
	}
	if n := (relay.Position{Epoch: 3, Seq: 41}).Next(); n != (relay.Position{Epoch: 3, Seq: 42}) {
		t.Error(n)
	}
}

func TestParsePosition(t *testing.T) {
	for s, want := range map[string]relay.Position{
		"0:0": {}, "3:42": {Epoch: 3, Seq: 42}, "1:0": {Epoch: 1},
		"9007199254740991:9007199254740991": {Epoch: relay.MaxNumber, Seq: relay.MaxNumber},
	} {
		if p, err := relay.ParsePosition(s); err != nil || p != want || p.String() != s {
			t.Errorf("%q: %v, %v", s, p, err)
		}
	}
	for _, s := range []string{"", "3", ":", "3:", ":3", "-1:3", "3:+4", "3:4:5", " 3:4", "3:4 ", "0x3:4", "1_0:4", "3:9007199254740992", "18446744073709551616:1"} {
		if p, err := relay.ParsePosition(s); err == nil {
			t.Errorf("%q passed as %v", s, p)
		}
	}
}

// FuzzParsePosition: what passes is below 2^53 and prints as what parses again.
func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0:0", "3:42", "03:1", "9007199254740991:1", "9007199254740992:1", "a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := relay.ParsePosition(s)
		if err != nil {
			return
		}
		again, err := relay.ParsePosition(p.String())
		if err != nil || again != p || p.Epoch > relay.MaxNumber || p.Seq > relay.MaxNumber {
			t.Fatalf("%q: %v, again %v, %v", s, p, again, err)
		}
	})
}

// TestProducerOf: an id's producer never changes, or a repeated id makes a second message.
func TestProducerOf(t *testing.T) {
	for _, c := range []struct{ subject, id, hex string }{
		{"user-17", "order-1", "6e14fe91b040eff638adb753c10410d1"},
		{"", "", "af5570f5a1810b7af78caf4bc70a660f"},
		{"größe", "a", "5dd9ca2c4b39a03a24876f6196b0f006"},
		{"a", "bc", "e98bc483cc6af9ccf82bc23e481a128c"},
		{"ab", "c", "290a3daa9b49526a2ed7352cd7f5e69c"}, // not the one above
	} {
		p := relay.ProducerOf(relay.Subject(c.subject), c.id)
		if got := hex.EncodeToString(p[:]); got != c.hex || p.IsZero() {
			t.Errorf("%q %q: %s, want %s", c.subject, c.id, got, c.hex)
		}
	}
	if !(relay.Producer{}).IsZero() {
		t.Error("the zero Producer is not zero")
	}
}

// TestNumbersOfTheSchema: what goes into a frame without a table is the same number there.
func TestNumbersOfTheSchema(t *testing.T) {
	for ours, theirs := range map[int]int{
		int(relay.StartLive): int(wire.Start_START_LIVE), int(relay.StartAfter): int(wire.Start_START_AFTER),
		int(relay.StartLast): int(wire.Start_START_LAST), int(relay.StartSince): int(wire.Start_START_SINCE),
		int(relay.StartFirst): int(wire.Start_START_FIRST),
	} {
		if ours != theirs {
			t.Errorf("start %d is %d", ours, theirs)
		}
	}
	if int(relay.Reliable) != int(wire.Mode_MODE_RELIABLE) || int(relay.Latest) != int(wire.Mode_MODE_LATEST) {
		t.Error("modes")
	}
	if int(relay.GapTrimmed) != int(wire.GapReason_GAP_TRIMMED) || int(relay.GapCompacted) != int(wire.GapReason_GAP_COMPACTED) || int(relay.GapEpoch) != int(wire.GapReason_GAP_EPOCH) {
		t.Error("gap reasons")
	}
	if int(relay.Lost) != int(wire.State_STATE_LOST) || int(relay.Restored) != int(wire.State_STATE_RESTORED) {
		t.Error("states")
	}
	if relay.MaxNumber != wire.MaxRef {
		t.Error("2^53")
	}
}
