package core

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/meridian-relay/meridian/core/channel"
	"github.com/meridian-relay/meridian/internal/campaign"
	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// TestCampaignBare lets publishers and subscribers come and go at once, on channels that keep
// all, little, and one message of a key: whoever reads gets every message once and in order, or
// a Gap before the hole. MERIDIAN_SEED and MERIDIAN_FOR set where it begins and how long it
// takes.
func TestCampaignBare(t *testing.T) {
	seed, length := campaign.Settings(t, 3*time.Second)
	b := open(t, BareConfig{Namespaces: map[relay.Namespace]channel.Policy{
		"all": {}, "few": {Count: 200}, "keyed": {Age: 50 * time.Millisecond, Keyed: true},
	}})
	var channels []relay.Channel
	for i := range 9 {
		channels = append(channels, relay.Channel(fmt.Sprintf("%s:%d", []string{"all", "few", "keyed"}[i%3], i)))
	}
	until := time.Now().Add(length)
	var wg sync.WaitGroup
	for i := range 3 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		wg.Go(func() { publisher(t, b, r, channels, until) })
	}
	for i := range 6 {
		r := rand.New(rand.NewPCG(seed, uint64(100+i)))
		wg.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				reader(t, b, r, channels[r.IntN(len(channels))], until)
			}
		})
	}
	wg.Wait()
}

// publisher publishes with numbers, and repeats some.
func publisher(t *testing.T, b *Bare, r *rand.Rand, channels []relay.Channel, until time.Time) {
	id := relay.Producer{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 1}
	n := make(map[relay.Channel]uint64)
	for time.Now().Before(until) {
		ch := channels[r.IntN(len(channels))]
		n[ch]++
		p := relay.Publication{Channel: ch, Subject: "alice", Producer: id, N: n[ch],
			Body: relaytest.Body(fmt.Sprint(n[ch]), []string{"", "a", "b"}[r.IntN(3)])}
		once, twice := relaytest.Send(t, b, p), relaytest.Send(t, b, p)
		one, two := <-once, <-twice
		if one.At != two.At || two.End.Code != one.End.Code || one.End.Code != relay.Done {
			t.Errorf("publish n=%d: %+v, repeated %+v", p.N, one, two)
			return
		}
	}
}

// reader reads a channel for a while, at a pace of its own.
func reader(t *testing.T, b *Bare, r *rand.Rand, ch relay.Channel, until time.Time) {
	q := relay.SubscribeRequest{Channel: ch, From: relay.Start{
		Kind: []relay.StartKind{relay.StartLive, relay.StartFirst, relay.StartLast}[r.IntN(3)], Count: 50}}
	woke := make(chan struct{}, 1)
	s := b.Subscribe(q, func() { // one may still come after Close, beside one that nobody took
		select {
		case woke <- struct{}{}:
		default:
		}
	})
	defer s.Close()
	var at relay.Position
	for range 1 + r.IntN(200) {
		select {
		case <-woke:
		case <-time.After(time.Until(until)):
			return
		}
		most := 1 + r.IntN(5000)
		for more := true; more; {
			got := 0
			for _, f := range s.Next(nil, most) {
				got += len(f.Body)
				switch {
				case f.Kind == relay.KindOK:
					at = f.At
				case f.Kind == relay.KindGap && f.At == at && at.Before(f.Next):
					at = relay.Position{Epoch: f.Next.Epoch, Seq: f.Next.Seq - 1}
				case f.Kind == relay.KindMessage && f.At == at.Next():
					at = f.At
				default:
					t.Errorf("%s after %v: %s", ch, at, relaytest.Describe(f))
					return
				}
			}
			more = got >= most
		}
	}
}
