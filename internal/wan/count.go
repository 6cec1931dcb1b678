package wan

import "sync/atomic"

// A counter counts what passed one way, or did not.
type counter struct{ packets, bytes, lost, overflow atomic.Uint64 }

// A tally counts twice: for one path or socket, and for all of its kind between two places.
type tally struct{ own, kind *counter }

func (t tally) pass(n int) {
	for _, c := range [...]*counter{t.own, t.kind} {
		c.packets.Add(1)
		c.bytes.Add(uint64(n))
	}
}

func (t tally) lose() {
	t.own.lost.Add(1)
	t.kind.lost.Add(1)
}

func (t tally) overflow() {
	t.own.overflow.Add(1)
	t.kind.overflow.Add(1)
}
