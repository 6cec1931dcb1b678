package edge

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

const (
	// repeatFor is how long the outcomes of a batch that a repeat can settle are repeated.
	repeatFor = 10 * time.Second
	// firstPause and longestPause bound the time between two repeats where nobody asked for
	// more.
	firstPause   = 50 * time.Millisecond
	longestPause = time.Second
)

// A batch is the messages of one HTTP request, on their way.
type batch struct {
	channel relay.Channel
	subject relay.Subject
	items   []item
}

// An item is one message.
type item struct {
	body     []byte
	producer relay.Producer
	n        uint64
	chained  bool // n follows that of the chained item before it
	begun    time.Time

	settled bool
	maybe   bool // an attempt may have taken effect
	void    bool // its number is being used up, so that later ones can commit
	at      relay.Position
	end     relay.End // the outcome, or what was last heard
}

type answer struct {
	item int
	at   relay.Position
	end  relay.End
}

// run publishes the items in order until each is settled, repeatFor has passed, or ctx ends. What
// was last heard of an item stands in it.
func (b *batch) run(ctx context.Context, up relay.Upstream) {
	for i := range b.items {
		b.items[i].end = relay.End{Code: relay.Unknown, Detail: "it was not sent"}
	}
	defer func() {
		for i := range b.items {
			b.items[i].giveUp()
		}
	}()
	deadline := time.Now().Add(repeatFor)
	pause, left := firstPause, len(b.items)
	for {
		answers, sent := b.send(up)
		for range sent {
			select {
			case a := <-answers:
				b.items[a.item].hear(a)
			case <-ctx.Done():
				return
			}
		}
		before := left
		var wait time.Duration
		if left, wait = b.review(); left < before {
			pause = firstPause
		}
		wait = max(wait, rand.N(pause))
		pause = min(2*pause, longestPause)
		if left == 0 || time.Now().Add(wait).After(deadline) || !sleep(ctx, wait) {
			return
		}
	}
}

// send publishes what is not settled, in order, as far as the upstream takes it.
func (b *batch) send(up relay.Upstream) (answers chan answer, sent int) {
	answers = make(chan answer, len(b.items)) // answers never wait
	for i := range b.items {
		it := &b.items[i]
		if it.settled {
			continue
		}
		now := time.Now()
		if it.begun.IsZero() {
			it.begun = now
		}
		p := relay.Publication{
			Channel: b.channel, Subject: b.subject, Producer: it.producer, N: it.n,
			Void: it.void, Age: now.Sub(it.begun), Body: it.body,
		}
		if it.void {
			p.Body = nil
		}
		if err := up.Publish(p, func(at relay.Position, end relay.End) { answers <- answer{i, at, end} }); err != nil {
			it.hear(answer{end: relay.Refusal(err)})
			break // what follows must not overtake
		}
		sent++
	}
	return answers, sent
}

// hear takes an answer.
func (it *item) hear(a answer) {
	switch {
	case a.end.Code == relay.Done: // a void, too, is answered so if the message stands
		it.settled, it.at, it.end = true, a.at, a.end
	case it.void:
		// Its own refusal stays the outcome.
		it.settled = final(a.end.Code)
	default:
		it.end = a.end
		it.maybe = it.maybe || open(a.end.Code)
	}
}

// open reports whether a publish that ended so may have taken effect.
func open(code relay.Code) bool {
	switch code {
	case relay.OutOfOrder, relay.TooOld, relay.Busy, relay.PublishRate, relay.ByteRate, relay.RequestRate,
		relay.ReadOnly, relay.Moved:
		return false
	}
	return !final(code)
}

// giveUp makes what was last heard of an item that may have taken effect say so.
func (it *item) giveUp() {
	if !it.settled && it.maybe && !open(it.end.Code) {
		it.end = relay.End{Code: relay.Unknown, Detail: "it may have been published; of the last attempt: " + it.end.Err().Error()}
	}
}

func final(code relay.Code) bool {
	switch code.Retry() {
	case relay.Final, relay.AfterToken:
		return true
	}
	return false
}

// review decides, after all answers, what becomes of the items that are not settled. It returns
// how many need another round, and how long to wait for it.
func (b *batch) review() (left int, wait time.Duration) {
	first := b.first()
	if first >= 0 && b.items[first].end.Code == relay.TooOld {
		// The home knows of nothing before it, so the producer is closed.
		for i := range b.items {
			if it := &b.items[i]; it.chained && !it.settled {
				it.settled = true
				if !it.void {
					it.end = b.items[first].end
				}
			}
		}
	}
	chained := false // a later item needs this one's number to be used
	for i := len(b.items) - 1; i >= 0; i-- {
		it := &b.items[i]
		// A number beyond the first of a producer that the home does not know is too old for
		// it; here it only came too early.
		early := it.chained && i != first && it.end.Code == relay.TooOld
		switch {
		case it.settled:
			continue
		case early:
			it.end = relay.End{Code: relay.OutOfOrder, Detail: "the messages before it could not be published"}
		case !final(it.end.Code):
			wait = max(wait, it.end.RetryAfter)
		case it.chained && chained:
			it.void = true
		default:
			it.settled = true
			continue
		}
		left++
		chained = chained || it.chained
	}
	return left, wait
}

// first returns the first chained item that is not settled; -1: none.
func (b *batch) first() int {
	return slices.IndexFunc(b.items, func(it item) bool { return it.chained && !it.settled })
}
