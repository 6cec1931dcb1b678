package client

import (
	"errors"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// A bench is an outbox with a clock, and what its callers were told.
type bench struct {
	t    *testing.T
	o    *outbox
	now  time.Time
	told map[*letter]outcome
}

func newBench(t *testing.T) *bench {
	drawn := byte(0)
	b := &bench{t: t, now: time.Now(), told: map[*letter]outcome{}}
	b.o = newOutbox("demo:x", func() relay.Producer { drawn++; return relay.Producer{drawn} }, b.now)
	return b
}

func (b *bench) push(n int) []*letter {
	var list []*letter
	for range n {
		l := &letter{body: []byte("x")}
		b.o.push(l, b.now)
		list = append(list, l)
	}
	return list
}

// send returns what leaves now.
func (b *bench) send() (sent []relay.Publication) {
	for l := b.o.next(b.now); l != nil; l = b.o.next(b.now) {
		sent = append(sent, b.o.publication(l, b.now))
	}
	return sent
}

func (b *bench) answer(l *letter, seq relay.Seq, code relay.Code) {
	b.o.answer(l, l.attempt, relay.Position{Epoch: 1, Seq: seq}, relay.End{Code: code}, b.now, 0.5)
	for _, o := range b.o.outcomes {
		b.told[o.letter] = o
	}
	b.o.outcomes = nil
}

func (b *bench) wantNumbers(sent []relay.Publication, producer byte, numbers ...uint64) {
	b.t.Helper()
	ok := len(sent) == len(numbers)
	for i := 0; ok && i < len(sent); i++ {
		ok = sent[i].N == numbers[i] && sent[i].Producer[0] == producer
	}
	if !ok {
		b.t.Fatalf("sent %+v; want numbers %v of producer %d", sent, numbers, producer)
	}
}

func (b *bench) wantErr(l *letter, target error, unknown bool) {
	b.t.Helper()
	o, ok := b.told[l]
	if !ok || !errors.Is(o.err, target) || errors.Is(o.err, ErrUnknownOutcome) != unknown {
		b.t.Fatalf("the caller of number %d was told %v (%v); want %v, unknown %v", l.n, o.err, ok, target, unknown)
	}
}

func code(c relay.Code) error { return relay.End{Code: c}.Err() }

// A home that was not there is tried with one message, and gets the rest once it has taken that.
func TestOutboxProbesAnAbsentHome(t *testing.T) {
	b := newBench(t)
	l := b.push(4)
	b.wantNumbers(b.send(), 1, 1, 2, 3, 4)
	b.answer(l[0], 1, relay.Done)
	b.answer(l[1], 0, relay.Unavailable)
	b.answer(l[2], 0, relay.OutOfOrder)
	b.answer(l[3], 0, relay.OutOfOrder)
	for range 3 {
		b.now = b.now.Add(time.Minute / 2)
		b.wantNumbers(b.send(), 1, 2)
		if at := b.o.wakeAt(); !at.IsZero() {
			t.Fatalf("wakes at %v although only an answer changes something", at)
		}
		b.answer(l[1], 0, relay.Unavailable)
	}
	b.now = b.now.Add(time.Minute / 2)
	b.wantNumbers(b.send(), 1, 2)
	b.answer(l[1], 2, relay.Done)
	b.wantNumbers(b.send(), 1, 3, 4)

	b.answer(l[2], 0, relay.Unavailable)
	b.answer(l[3], 0, relay.OutOfOrder)
	b.now = b.now.Add(time.Minute / 2)
	b.wantNumbers(b.send(), 1, 3)
	b.answer(l[2], 0, relay.Forbidden) // it is there
	b.wantNumbers(b.send(), 1, 3, 4)

	b.answer(l[2], 0, relay.Unavailable)
	b.answer(l[3], 0, relay.OutOfOrder)
	b.o.lost()
	b.wantNumbers(b.send(), 1, 3, 4) // another session, perhaps to another place
}

func TestOutboxGoesBackAfterARetryableRefusal(t *testing.T) {
	b := newBench(t)
	l := b.push(3)
	b.wantNumbers(b.send(), 1, 1, 2, 3)
	b.answer(l[0], 1, relay.Done)
	b.o.answer(l[1], 1, relay.Position{}, relay.End{Code: relay.Busy, RetryAfter: time.Second}, b.now, 0)
	if b.now = b.now.Add(2 * time.Second); len(b.send()) != 0 {
		t.Fatal("sent before everything in flight was answered")
	}
	b.answer(l[2], 0, relay.OutOfOrder)
	b.now = b.now.Add(time.Second)
	b.wantNumbers(b.send(), 1, 2, 3)
}

func TestOutboxWaitsAsLongAsTheRefusalSays(t *testing.T) {
	b := newBench(t)
	l := b.push(1)
	b.send()
	b.o.answer(l[0], 1, relay.Position{}, relay.End{Code: relay.PublishRate, RetryAfter: time.Second}, b.now, 0)
	if got := b.send(); len(got) != 0 {
		t.Fatal("sent again at once")
	}
	if at := b.o.wakeAt(); !at.Equal(b.now.Add(time.Second)) {
		t.Fatalf("wakes after %v; want 1 s", at.Sub(b.now))
	}
	b.now = b.now.Add(time.Second)
	b.wantNumbers(b.send(), 1, 1)
}

func TestOutboxUsesARefusedNumberUp(t *testing.T) {
	b := newBench(t)
	l := b.push(2)
	b.send()
	b.answer(l[0], 0, relay.TooLarge)
	b.wantErr(l[0], code(relay.TooLarge), false) // at once
	b.answer(l[1], 0, relay.OutOfOrder)
	b.now = b.now.Add(time.Minute)
	sent := b.send()
	b.wantNumbers(sent, 1, 1, 2)
	if !sent[0].Void || len(sent[0].Body) > 0 || sent[1].Void {
		t.Fatalf("sent %+v; want 1 as void and 2 as it was", sent)
	}
	b.answer(l[0], 0, relay.Voided)
	b.answer(l[1], 1, relay.Done)
	if !b.o.idle() {
		t.Fatalf("not idle: %+v", b.o)
	}
}

func TestOutboxRefusalAfterALossWaitsForTheVoid(t *testing.T) {
	for _, applied := range []bool{true, false} {
		b := newBench(t)
		l := b.push(1)
		b.send()
		b.o.lost()
		b.send()
		b.answer(l[0], 0, relay.Forbidden)
		if len(b.told) > 0 {
			t.Fatal("told before the void's answer, though the first attempt may have been applied")
		}
		if sent := b.send(); len(sent) != 1 || !sent[0].Void {
			t.Fatalf("sent %+v; want a void", sent)
		}
		if applied {
			b.answer(l[0], 7, relay.Done)
			if o := b.told[l[0]]; o.err != nil || o.at.Seq != 7 {
				t.Fatalf("told %+v; want position 7", o)
			}
		} else {
			b.answer(l[0], 0, relay.Voided)
			b.wantErr(l[0], code(relay.Forbidden), false)
		}
	}
}

func TestOutboxWithoutRightToVoidTakesANewProducer(t *testing.T) {
	b := newBench(t)
	l := b.push(2)
	b.send()
	b.answer(l[0], 0, relay.Forbidden)
	b.answer(l[1], 0, relay.Forbidden)
	b.send()
	b.answer(l[0], 0, relay.Forbidden)
	b.answer(l[1], 0, relay.Forbidden)
	b.wantErr(l[0], code(relay.Forbidden), false)
	b.wantErr(l[1], code(relay.Forbidden), false)
	b.push(1)
	b.wantNumbers(b.send(), 2, 1)
}

func TestOutboxNewEpoch(t *testing.T) {
	b := newBench(t)
	l := b.push(4)
	b.send()
	b.answer(l[0], 1, relay.Done)
	b.o.lost()
	b.send()                      // 2, 3, 4 again: each may have been applied before
	l = append(l, b.push(1)...)   // 5 goes out for the first time
	b.send()                      //
	b.answer(l[1], 2, relay.Done) // was in the table
	b.answer(l[2], 0, relay.TooOld)
	b.answer(l[3], 0, relay.TooOld)
	if n := len(b.send()); n != 0 {
		t.Fatalf("%d sent before all is answered", n)
	}
	b.answer(l[4], 0, relay.TooOld) // tried once: not applied
	b.wantErr(l[2], ErrUnknownOutcome, true)
	b.wantErr(l[3], ErrUnknownOutcome, true)
	if _, told := b.told[l[4]]; told {
		t.Fatalf("number 5 was told %+v; it goes on", b.told[l[4]])
	}
	b.wantNumbers(b.send(), 2, 1)
}

func TestOutboxGivesUpAfterSeveralProducers(t *testing.T) {
	b := newBench(t)
	l := b.push(1)
	for range maxRenewals + 1 {
		b.send()
		b.answer(l[0], 0, relay.TooOld)
	}
	b.wantErr(l[0], code(relay.TooOld), false)
}

func TestOutboxNeverSendsWhatIsTooOld(t *testing.T) {
	b := newBench(t)
	l := b.push(3)
	b.wantNumbers(b.send(), 1, 1, 2, 3)
	b.answer(l[0], 1, relay.Done)
	b.answer(l[2], 0, relay.OutOfOrder) // not applied, surely
	b.o.lost()
	b.now = b.now.Add(maxAge + time.Second)
	sent := b.send()
	b.answer(l[2], 0, relay.Unknown) // collects what was told
	b.wantErr(l[1], ErrUnknownOutcome, true)
	b.wantNumbers(sent, 2, 1)
	if sent[0].Age != 0 {
		t.Errorf("sent under a new producer with age %v", sent[0].Age)
	}
}

func TestOutboxRestedTakesANewProducer(t *testing.T) {
	b := newBench(t)
	l := b.push(1)
	b.send()
	b.answer(l[0], 1, relay.Done)
	b.now = b.now.Add(restAfter - time.Second)
	l = b.push(1)
	b.wantNumbers(b.send(), 1, 2)
	b.answer(l[0], 2, relay.Done)
	b.now = b.now.Add(restAfter)
	b.push(1)
	b.wantNumbers(b.send(), 2, 1)
}

func TestOutboxKeepsToTheWindow(t *testing.T) {
	b := newBench(t)
	l := b.push(window + 10)
	if n := len(b.send()); n != window {
		t.Fatalf("%d in flight; want %d", n, window)
	}
	b.answer(l[1], 2, relay.Done) // number 1 still is not answered
	if n := len(b.send()); n != 0 {
		t.Fatalf("%d more were sent; the home would have forgotten number 1", n)
	}
	b.answer(l[0], 1, relay.Done)
	if n := len(b.send()); n != 2 {
		t.Fatalf("%d more were sent; want 2", n)
	}
}

// A full window waits for answers, not for a time that is over: the courier would spin.
func TestOutboxFullWindowAsksForNoWake(t *testing.T) {
	b := newBench(t)
	l := b.push(window + 10)
	b.send()
	b.answer(l[0], 0, relay.Busy)
	for _, o := range l[1:window] {
		b.answer(o, 0, relay.OutOfOrder)
	}
	b.now = b.now.Add(time.Minute)
	if n := len(b.send()); n != window {
		t.Fatalf("%d in flight; want %d", n, window)
	}
	if at := b.o.wakeAt(); !at.IsZero() {
		t.Errorf("wakes %v from now, though only an answer helps", at.Sub(b.now))
	}
}

func TestOutboxCancel(t *testing.T) {
	b := newBench(t)
	l := b.push(1)
	b.o.cancel(l[0])
	if !b.o.idle() || l[0].inDoubt() {
		t.Fatal("a letter that was never sent stays")
	}
	l = b.push(2)
	b.wantNumbers(b.send(), 1, 1, 2)
	b.o.cancel(l[0])
	if !l[0].inDoubt() {
		t.Fatal("a letter in flight is not in doubt")
	}
	b.o.lost()
	if sent := b.send(); len(sent) != 2 || !sent[0].Void {
		t.Fatalf("sent %+v; want number 1 as void", sent)
	}
	b.answer(l[0], 0, relay.TooOld)
	b.answer(l[1], 0, relay.OutOfOrder)
	if _, told := b.told[l[0]]; told {
		t.Error("who gave up was told again")
	}
	b.wantErr(l[1], ErrUnknownOutcome, true)
	if !b.o.idle() {
		t.Errorf("not idle: %+v", b.o.letters)
	}
}

func TestOutboxGivenUpIsNotSentUnderANewProducer(t *testing.T) {
	b := newBench(t)
	l := b.push(3)
	b.send()
	b.answer(l[0], 1, relay.Done)
	b.answer(l[1], 0, relay.Busy)
	b.o.cancel(l[1])
	b.answer(l[2], 0, relay.TooOld)
	b.now = b.now.Add(time.Minute)
	b.wantNumbers(b.send(), 2, 1)
}

// A home that forgot the producer says so by out_of_order for a number that had nothing before
// it. Sent behind an unanswered one, that says nothing.
func TestOutboxForgottenProducer(t *testing.T) {
	b := newBench(t)
	l := b.push(3)
	b.send()
	b.answer(l[0], 1, relay.Done)
	b.answer(l[1], 0, relay.OutOfOrder)
	b.answer(l[2], 0, relay.OutOfOrder)
	b.now = b.now.Add(time.Second)
	b.wantNumbers(b.send(), 1, 2, 3)
	b.answer(l[1], 0, relay.OutOfOrder)
	b.answer(l[2], 0, relay.OutOfOrder)
	b.now = b.now.Add(time.Second)
	b.wantNumbers(b.send(), 2, 1, 2)
	if len(b.told) != 1 {
		t.Errorf("told %+v; what was not applied goes on", b.told)
	}
}

// While number 1 has not arrived, what follows is out of order, and goes on in order.
func TestOutboxFirstNumberRefused(t *testing.T) {
	b := newBench(t)
	l := b.push(3)
	b.send()
	for range 20 {
		b.answer(l[0], 0, relay.PublishRate)
		b.answer(l[1], 0, relay.OutOfOrder)
		b.answer(l[2], 0, relay.OutOfOrder)
		b.now = b.now.Add(11 * time.Second)
		b.wantNumbers(b.send(), 1, 1, 2, 3)
	}
	if len(b.told) > 0 {
		t.Errorf("told %+v; nothing is decided", b.told)
	}
}

func TestOutboxOfAnID(t *testing.T) {
	b := newBench(t)
	id := relay.Producer{99}
	for _, test := range []struct {
		lost    bool
		code    relay.Code
		unknown bool
	}{{false, relay.Forbidden, false}, {true, relay.Forbidden, true}, {true, relay.TooOld, true}, {false, relay.Conflict, false}} {
		b.o = newOnceOutbox("demo:x", id, b.now)
		l := b.push(1)
		b.wantNumbers(b.send(), 99, 1)
		if test.lost {
			b.o.lost()
			b.wantNumbers(b.send(), 99, 1)
		}
		b.answer(l[0], 0, test.code)
		b.wantErr(l[0], code(test.code), test.unknown)
		if !b.o.idle() {
			t.Errorf("%v: something stays", test.code)
		}
	}
	// Given up while lost: it is not sent again, and the id is not used up.
	b.o = newOnceOutbox("demo:x", id, b.now)
	l := b.push(1)
	b.send()
	b.o.cancel(l[0])
	b.o.lost()
	if sent := b.send(); len(sent) != 0 || !b.o.idle() {
		t.Errorf("sent %+v, idle %v", sent, b.o.idle())
	}
}

func TestOutboxAbandon(t *testing.T) {
	b := newBench(t)
	l := b.push(1)
	b.send()
	l = append(l, b.push(1)...)
	b.o.abandon(ErrClosed)
	b.answer(l[0], 0, relay.Unknown)
	b.wantErr(l[0], ErrClosed, true)
	b.wantErr(l[1], ErrClosed, false)
	if !b.o.idle() || b.o.ended != 2 || b.o.freed != 2*l[0].cost() {
		t.Errorf("idle %v, ended %d, freed %d", b.o.idle(), b.o.ended, b.o.freed)
	}
}
