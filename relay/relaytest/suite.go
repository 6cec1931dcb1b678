package relaytest

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/relay"
)

// Namespaces that an Upstream under test has. None may keep less than a minute's messages, but
// for Short.
const (
	Plain = "test"  // retention beyond what a test writes; payloads up to 64 KiB
	Short = "short" // keeps ten messages of a channel, and removes others within seconds
)

// TestUpstream runs the conformance suite of the seam. open returns an Upstream that works until
// the test ends, with the namespaces above. It is called for every test of the suite, and may
// return the same one.
func TestUpstream(t *testing.T, open func(t *testing.T) relay.Upstream) {
	tests := []struct {
		name string
		run  func(t *testing.T, u relay.Upstream, ch relay.Channel)
	}{
		{"FirstFrame", testFirstFrame},
		{"Refusals", testRefusals},
		{"Stamp", testStamp},
		{"Order", testOrder},
		{"AnswerOutside", testAnswerOutside},
		{"BodyIsLentUntilAnswer", testBodyLent},
		{"PublishRefusals", testPublishRefusals},
		{"Repeat", testRepeat},
		{"Window", testWindow},
		{"Numbers", testNumbers},
		{"Void", testVoid},
		{"Age", testAge},
		{"ProducerBoundToSubject", testProducerBound},
		{"Starts", testStarts},
		{"StartSince", testSince},
		{"Limit", testLimit},
		{"LimitEndsAtHead", testLimitHead},
		{"Barrier", testBarrier},
		{"JoinWhilePublishing", testJoin},
		{"Trimmed", testTrimmed},
		{"UnknownEpoch", testUnknownEpoch},
		{"Latest", testLatest},
		{"LatestCatchesUp", testLatestCatchesUp},
		{"WakeOnce", testWakeOnce},
		{"MaxBytes", testMaxBytes},
		{"LentIntact", testLentIntact},
		{"Close", testClose},
		{"SlowReader", testSlowReader},
		{"ManyReaders", testManyReaders},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t), fresh(Plain)) })
	}
}

var names atomic.Int64

// fresh returns a channel that no other test uses.
func fresh(ns string) relay.Channel {
	return relay.Channel(fmt.Sprintf("%s:suite-%d", ns, names.Add(1)))
}

// producer returns a producer that no other test uses.
func producer() relay.Producer {
	return relay.ProducerOf("suite", fmt.Sprint(names.Add(1)))
}

// numbered is publish n of a producer.
func numbered(ch relay.Channel, p relay.Producer, n uint64, payload string) relay.Publication {
	return relay.Publication{Channel: ch, Subject: "alice", Producer: p, N: n, Body: Body(payload, "")}
}

// want publishes and checks the code.
func want(t *testing.T, u relay.Upstream, p relay.Publication, code relay.Code) Outcome {
	t.Helper()
	o := Publish(t, u, p)
	if o.End.Code != code {
		t.Fatalf("publish n=%d void=%v: %v %q, want %v", p.N, p.Void, o.End.Code, o.End.Detail, code)
	}
	return o
}

// puts publishes payloads "0" to n-1 and returns their positions.
func puts(t *testing.T, u relay.Upstream, ch relay.Channel, n int) []relay.Position {
	t.Helper()
	list := make([]relay.Position, n)
	for i := range n {
		list[i] = Put(t, u, ch, fmt.Sprint(i))
	}
	return list
}

// flight publishes n messages from number first on, without waiting for one before the next, and
// returns their positions when all are answered: as publishers do, and in less time than one after
// the other where an answer takes several processes. Numbers keep them in order.
func flight(t *testing.T, u relay.Upstream, ch relay.Channel, p relay.Producer, first, n int, body func(i int) []byte) []relay.Position {
	t.Helper()
	waits := make([]<-chan Outcome, n)
	for i := range waits {
		waits[i] = Send(t, u, relay.Publication{Channel: ch, Subject: "alice", Producer: p, N: uint64(first + i), Body: body(i)})
	}
	list := make([]relay.Position, n)
	for i, w := range waits {
		select {
		case o := <-w:
			if o.End.Code != relay.Done {
				t.Fatalf("publish n=%d: %v %q", first+i, o.End.Code, o.End.Detail)
			}
			list[i] = o.At
		case <-time.After(patience):
			t.Fatalf("no answer to %s n=%d within %v", ch, first+i, patience)
		}
	}
	return list
}

// payloads checks that the frames are messages with these payloads.
func payloads(t *testing.T, frames []relay.Frame, want ...string) {
	t.Helper()
	if len(frames) != len(want) {
		t.Fatalf("%d messages, want %d", len(frames), len(want))
	}
	for i, f := range frames {
		if got := string(Decode(t, f.Body).Payload); got != want[i] {
			t.Fatalf("message %v: payload %q, want %q", f.At, got, want[i])
		}
	}
}
