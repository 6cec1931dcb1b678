package core

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/relaytest"
)

// The first channels of all replicas are found page by page, whichever of them have them.
func TestChannelsOfManyReplicas(t *testing.T) {
	c := single(t)
	c.Shards = 16
	n, _ := start(t, c)
	await(t, n)
	var want []relay.Channel
	for i := range 40 {
		ch := relay.Channel(fmt.Sprintf("%s:page%02d", relaytest.Plain, i))
		publish(t, n.Local(), numbered(ch, 1))
		want = append(want, ch)
	}
	var got []relay.Channel
	for after := relay.Channel(""); ; after = got[len(got)-1] {
		list, err := n.Channels(string(relaytest.Plain)+":page", after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 || len(got) > len(want) {
			break
		}
		for _, x := range list {
			got = append(got, x.Channel)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %v", got)
	}
}

// What gauges share is read by one who asks at a time.
func TestGaugesAreReadByOneAtATime(t *testing.T) {
	g := &gauges{begin: func() {}}
	g.list = []gauge{{prometheus.NewDesc("x", "x", nil, nil), prometheus.GaugeValue, func() float64 {
		if g.mu.TryLock() {
			t.Error("another may read meanwhile")
		}
		return 0
	}}}
	g.Collect(make(chan prometheus.Metric, 1))
}
