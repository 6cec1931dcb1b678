package edge

import (
	"context"
	"math/rand/v2"
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
	deadline := time.Now().Add(repeatFor)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		answers, sent := b.send(up)
		for range sent {
			select {
			case a := <-answers:
				b.items[a.item].hear(a)
			case <-ctx.Done():
				return
			}
		}
		wait, again := b.review()
		wait = max(wait, rand.N(pause))
		if !again || time.Now().Add(wait).After(deadline) || !sleep(ctx, wait) {
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
			it.hear(answer{end: relay.End{Code: relay.Busy, RetryAfter: relay.BusyRetry, Detail: err.Error()}})
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
	}
}

func final(code relay.Code) bool {
	switch code.Retry() {
	case relay.Final, relay.AfterToken:
		return true
	}
	return false
}

// review decides, after all answers, what becomes of the items that are not settled: whether
// another round is needed, and how long to wait for it.
func (b *batch) review() (wait time.Duration, again bool) {
	chained := false // a later item needs this one's number to be used
	for i := len(b.items) - 1; i >= 0; i-- {
		it := &b.items[i]
		if it.settled {
			continue
		}
		switch {
		case !final(it.end.Code):
			wait = max(wait, it.end.RetryAfter)
		case it.chained && chained:
			it.void = true
		default:
			it.settled = true
			continue
		}
		again = true
		chained = chained || it.chained
	}
	return wait, again
}
