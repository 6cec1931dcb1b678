package edge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/meridian-relay/meridian/internal/transport"
	"github.com/meridian-relay/meridian/relay/hub"
)

// A figure is one metric that is read when it is scraped.
type figure[S any] struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(S) float64
}

// figures turn another package's plain numbers into metrics.
type figures[S any] struct {
	read func() S
	list []figure[S]
}

var (
	_ prometheus.Collector = (*figures[hub.Stats])(nil)
	_ prometheus.Collector = (*figures[transport.Stats])(nil)
)

func (f *figures[S]) gauge(name, help string, read func(S) float64) {
	f.list = append(f.list, figure[S]{prometheus.NewDesc(name, help, nil, nil), prometheus.GaugeValue, read})
}

func (f *figures[S]) counter(name, help string, labels prometheus.Labels, read func(S) float64) {
	f.list = append(f.list, figure[S]{prometheus.NewDesc(name, help, nil, labels), prometheus.CounterValue, read})
}

// Describe implements prometheus.Collector.
func (f *figures[S]) Describe(to chan<- *prometheus.Desc) {
	for _, g := range f.list {
		to <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (f *figures[S]) Collect(to chan<- prometheus.Metric) {
	now := f.read()
	for _, g := range f.list {
		to <- prometheus.MustNewConstMetric(g.desc, g.kind, g.read(now))
	}
}

func transportFigures(read func() transport.Stats) *figures[transport.Stats] {
	type S = transport.Stats
	f := &figures[S]{read: read}
	f.gauge("meridian_transport_unwelcomed_connections", "Connections that have not said Hello.",
		func(s S) float64 { return float64(s.Unwelcomed) })
	f.gauge("meridian_transport_http_connections", "Connections that made requests and hold no session.",
		func(s S) float64 { return float64(s.HTTP) })
	f.gauge("meridian_transport_handshakes", "QUIC connections before their first request.",
		func(s S) float64 { return float64(s.Handshaking) })
	f.gauge("meridian_transport_window_lent_bytes", "Receive windows beyond the initial ones.",
		func(s S) float64 { return float64(s.WindowLent) })
	f.counter("meridian_transport_windows_denied_total", "Requests for a larger receive window that the budget refused.", nil,
		func(s S) float64 { return float64(s.WindowDenied) })
	f.counter("meridian_transport_retries_total", "QUIC handshakes that had to prove their address first.", nil,
		func(s S) float64 { return float64(s.Retries) })
	refused := func(reason string, read func(S) uint64) {
		f.counter("meridian_transport_refused_total", "Connections and sessions refused before Hello.",
			prometheus.Labels{"reason": reason}, func(s S) float64 { return float64(read(s)) })
	}
	refused("too_many_connections", func(s S) uint64 { return s.Refused })
	refused("hello_timeout", func(s S) uint64 { return s.Late })
	refused("origin_refused", func(s S) uint64 { return s.Origins })
	refused("second_session", func(s S) uint64 { return s.Seconds })
	return f
}

func hubFigures(read func() hub.Stats) *figures[hub.Stats] {
	type S = hub.Stats
	f := &figures[S]{read: read}
	gauge := func(name, help string, read func(S) int64) {
		f.gauge("meridian_hub_"+name, help, func(s S) float64 { return float64(read(s)) })
	}
	counter := func(name, help string, read func(S) uint64) {
		f.counter("meridian_hub_"+name+"_total", help, nil, func(s S) float64 { return float64(read(s)) })
	}
	gauge("channels", "Channels that somebody listens to, or did a moment ago.", func(s S) int64 { return s.Topics })
	gauge("lost_channels", "Channels whose way to the home is interrupted.", func(s S) int64 { return s.Lost })
	gauge("subscriptions", "Subscriptions.", func(s S) int64 { return s.Subscriptions })
	gauge("private_subscriptions", "Limited subscriptions passed through to the home.", func(s S) int64 { return s.Private })
	gauge("catchup_subscriptions", "Upstream subscriptions that fetch what has left a ring.", func(s S) int64 { return s.Feeds })
	gauge("ring_bytes", "Bytes of all rings, and of what subscribers still hold of them.", func(s S) int64 { return s.RingBytes })
	gauge("held_bytes", "Bytes that only subscribers still hold.", func(s S) int64 { return s.HeldBytes })
	counter("opened_subscriptions", "Upstream subscriptions opened.", func(s S) uint64 { return s.Opened })
	counter("resumed_subscriptions", "Live upstream subscriptions opened anew after an end.", func(s S) uint64 { return s.Resumed })
	counter("received_messages", "Messages taken from the upstream.", func(s S) uint64 { return s.Messages })
	counter("received_bytes", "Bytes of the bodies of messages taken from the upstream.", func(s S) uint64 { return s.Bytes })
	counter("gaps", "Gaps reported by the upstream.", func(s S) uint64 { return s.Gaps })
	counter("repeated_messages", "Messages dropped: at or before a position already had.", func(s S) uint64 { return s.Repeated })
	counter("unjoined_messages", "Messages that did not follow the one before, asked for again.", func(s S) uint64 { return s.Unjoined })
	counter("evicted_chunks", "Chunks of rings dropped for the budget of all rings.", func(s S) uint64 { return s.Evicted })
	counter("fell_behind", "Times that a subscription fell out of a ring.", func(s S) uint64 { return s.FellBehind })
	counter("refused_subscriptions", "Subscriptions refused as busy.", func(s S) uint64 { return s.Refused })
	counter("wakes", "Subscriptions woken.", func(s S) uint64 { return s.Wakes })
	return f
}
