package core

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-relay/meridian/core/peer"
)

// peerMetrics shows what goes between nodes. Labels are kinds, reasons, and nodes of the list.
type peerMetrics struct {
	stats func() peer.Stats
	list  []peerMetric
}

// A peerMetric turns a part of the stats into values, each under the values of its labels.
type peerMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *peer.Stats, value func(v float64, labels ...string))
}

func newPeerMetrics(stats func() peer.Stats) *peerMetrics {
	m := &peerMetrics{stats: stats}
	type put = func(v float64, labels ...string)
	add := func(kind prometheus.ValueType, name, help string, labels []string, read func(*peer.Stats, put)) {
		m.list = append(m.list, peerMetric{prometheus.NewDesc("meridian_core_peer_"+name, help, labels, nil), kind, read})
	}
	count := func(name, help string, read func(*peer.Stats) uint64) {
		add(prometheus.CounterValue, name, help, nil, func(s *peer.Stats, value put) { value(float64(read(s))) })
	}
	byKind := func(name, help string, read func(s *peer.Stats, kind int) uint64) {
		add(prometheus.CounterValue, name, help, []string{"kind"}, func(s *peer.Stats, value put) {
			for k, label := range peer.KindNames {
				value(float64(read(s, k)), label)
			}
		})
	}
	byNode := func(name, help string, read func(n *peer.NodeStats) float64) {
		add(prometheus.GaugeValue, name, help, []string{"node"}, func(s *peer.Stats, value put) {
			for i := range s.Nodes {
				value(read(&s.Nodes[i]), string(s.Nodes[i].Node))
			}
		})
	}
	byKind("sent_total", "Messages sent to other nodes.", func(s *peer.Stats, k int) uint64 { return s.Sent[k].Messages })
	byKind("sent_bytes_total", "Their bytes.", func(s *peer.Stats, k int) uint64 { return s.Sent[k].Bytes })
	byKind("received_total", "Messages that came from other nodes.", func(s *peer.Stats, k int) uint64 { return s.Received[k].Messages })
	byKind("received_bytes_total", "Their bytes.", func(s *peer.Stats, k int) uint64 { return s.Received[k].Bytes })
	add(prometheus.CounterValue, "sends_dropped_total", "Messages to other nodes that were dropped, and why.", []string{"reason"},
		func(s *peer.Stats, value put) {
			for r, label := range peer.DropNames {
				value(float64(s.Dropped[r]), label)
			}
		})
	count("dials_total", "Attempts to connect to other nodes.", func(s *peer.Stats) uint64 { return s.Dials })
	count("connects_total", "Attempts to connect that succeeded.", func(s *peer.Stats) uint64 { return s.Connects })
	count("refused_total", "Connections of others that were refused.", func(s *peer.Stats) uint64 { return s.Refused })
	count("silent_total", "Connections that were closed because nothing came.", func(s *peer.Stats) uint64 { return s.Silent })
	count("snapshot_bytes_total", "Bytes of snapshots that came from other nodes.", func(s *peer.Stats) uint64 { return s.Received[peer.Snapshot].Bytes })
	count("snapshot_bytes_kept_total", "Bytes of snapshots that need not come: they were here.", func(s *peer.Stats) uint64 { return s.KeptBytes })
	count("snapshots_resumed_total", "Snapshots that went on where they had been cut off.", func(s *peer.Stats) uint64 { return s.Resumed })
	add(prometheus.GaugeValue, "snapshots", "Snapshots on their way, here (fetching) or from here (serving).", []string{"way"},
		func(s *peer.Stats, value put) {
			value(float64(s.Fetching), "fetching")
			value(float64(s.Serving), "serving")
		})
	byNode("connected", "1: what is sent to the node leaves.", func(n *peer.NodeStats) float64 { return one(n.Connected) })
	byNode("alive", "1: the node was heard of lately.", func(n *peer.NodeStats) float64 { return one(n.Alive) })
	byNode("rtt_seconds", "The round trip to the node, smoothed; 0: not known.", func(n *peer.NodeStats) float64 { return n.RTT.Seconds() })
	byNode("waiting_bytes", "Bytes that wait to be sent to the node.", func(n *peer.NodeStats) float64 { return float64(n.WaitBytes) })
	return m
}

func (m *peerMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, x := range m.list {
		out <- x.desc
	}
}

func (m *peerMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.stats()
	for _, x := range m.list {
		x.read(&s, func(v float64, labels ...string) { out <- prometheus.MustNewConstMetric(x.desc, x.kind, v, labels...) })
	}
}

// one is how metrics say yes.
func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
