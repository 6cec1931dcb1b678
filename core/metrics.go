package core

import (
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meridian-relay/meridian/core/shard"
)

// metrics serves a node's numbers.
func (n *Node) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), n.collector())
	if n.network != nil {
		r.MustRegister(newPeerMetrics(n.network.peers.Stats))
	}
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// A gauge reads numbers when it is asked for them.
type gauge struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func() float64
}

type gauges struct {
	list []gauge

	mu    sync.Mutex // several may ask at once
	begin func()     // reads what the gauges share
}

func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, x := range g.list {
		out <- x.desc
	}
}

func (g *gauges) Collect(out chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.begin()
	for _, x := range g.list {
		out <- prometheus.MustNewConstMetric(x.desc, x.kind, x.read())
	}
}

// collector returns the node's own metrics. No label has a value that a client chose.
func (n *Node) collector() prometheus.Collector {
	g := &gauges{}
	add := func(kind prometheus.ValueType, name, help string, read func() float64) {
		g.list = append(g.list, gauge{prometheus.NewDesc("meridian_core_"+name, help, nil, nil), kind, read})
	}
	store := n.store.Metrics()
	var replicas, leading, leaderless int
	g.begin = func() {
		store = n.store.Metrics()
		replicas, leading, leaderless = 0, 0, 0
		n.local.each(func(r *replica) {
			replicas++
			if v := r.view.Load(); v != nil && v.Role == shard.Leading {
				leading++
			}
			if _, ok := r.leader(); !ok {
				leaderless++
			}
		})
	}
	add(prometheus.GaugeValue, "replicas", "Replicas on this node.", func() float64 { return float64(replicas) })
	add(prometheus.GaugeValue, "leading", "Replicas that lead their shard.", func() float64 { return float64(leading) })
	add(prometheus.GaugeValue, "leaderless", "Replicas that know no leader.", func() float64 { return float64(leaderless) })
	add(prometheus.CounterValue, "store_syncs_total", "Syncs of the log.", func() float64 { return float64(store.Syncs) })
	add(prometheus.CounterValue, "store_writes_total", "Writes of replicas.", func() float64 { return float64(store.Writes) })
	add(prometheus.CounterValue, "store_batches_total", "Batches that writes were gathered into.", func() float64 { return float64(store.Batches) })
	add(prometheus.CounterValue, "store_written_bytes_total", "Bytes written to disk.", func() float64 {
		return float64(store.WAL + store.Flush + store.Compaction + store.Rewrite + store.Other)
	})
	add(prometheus.GaugeValue, "store_log_bytes", "Bytes that the logs of replicas hold.", func() float64 { return float64(store.LogBytes) })
	add(prometheus.GaugeValue, "store_disk_bytes", "Bytes of logs and states on disk.", func() float64 { return float64(store.LogDisk + store.StateDisk) })
	add(prometheus.CounterValue, "store_stalls_total", "Stalls of writes because the disk had fallen behind.", func() float64 { return float64(store.Stalls) })
	add(prometheus.CounterValue, "store_stalled_seconds_total", "How long writes were stalled.", func() float64 { return store.Stalled.Seconds() })
	add(prometheus.GaugeValue, "store_read_only", "1: the disk is nearly full, and publishes are refused.", func() float64 { return one(store.ReadOnly) })
	add(prometheus.CounterValue, "peer_messages_dropped_total", "Messages of other nodes that were dropped because this one had too many.", func() float64 {
		n.inbox.mu.Lock()
		defer n.inbox.mu.Unlock()
		return float64(n.inbox.dropped)
	})
	return g
}
