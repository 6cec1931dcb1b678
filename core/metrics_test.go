package core

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-relay/meridian/core/peer"
)

// What peers count is shown, each drop under its reason.
func TestPeerMetrics(t *testing.T) {
	var s peer.Stats
	s.Sent[peer.Bulk] = peer.Traffic{Messages: 3, Bytes: 300}
	s.Received[peer.Snapshot] = peer.Traffic{Messages: 4, Bytes: 400}
	s.Dropped[peer.DropFull], s.Dropped[peer.DropCut] = 5, 6
	s.Dials, s.Connects, s.Refused, s.Silent, s.KeptBytes, s.Resumed, s.Fetching, s.Serving = 7, 8, 9, 10, 11, 12, 13, 14
	s.Nodes = []peer.NodeStats{
		{Node: "n2", Alive: true, Connected: true, RTT: 15 * time.Second, WaitBytes: 16},
		{Node: "n3", Alive: true},
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(newPeerMetrics(func() peer.Stats { return s }))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of them is nil
		}
	}
	for name, want := range map[string]float64{
		"sent_total bulk": 3, "sent_bytes_total bulk": 300, "sent_total urgent": 0,
		"received_total snapshot": 4, "received_bytes_total snapshot": 400, "snapshot_bytes_total": 400,
		"sends_dropped_total full": 5, "sends_dropped_total cut": 6, "sends_dropped_total lost": 0,
		"dials_total": 7, "connects_total": 8, "refused_total": 9, "silent_total": 10,
		"snapshot_bytes_kept_total": 11, "snapshots_resumed_total": 12,
		"snapshots fetching": 13, "snapshots serving": 14,
		"connected n2": 1, "connected n3": 0, "alive n2": 1, "alive n3": 1, "rtt_seconds n2": 15, "waiting_bytes n2": 16,
	} {
		if v, ok := got["meridian_core_peer_"+name]; !ok || v != want {
			t.Errorf("%s: %v, %v; want %v", name, v, ok, want)
		}
	}
}
