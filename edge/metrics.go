package edge

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meridian-relay/meridian/relay"
)

// counts are the edge's own metrics. No label has a value that a client chose.
type counts struct {
	// Set at construction.
	registry       *prometheus.Registry
	sessions       *prometheus.GaugeVec   // carrier
	sessionsTotal  *prometheus.CounterVec // carrier
	hellosRefused  *prometheus.CounterVec // code
	limits         *prometheus.CounterVec // code
	admitted       prometheus.Counter
	admittedBytes  prometheus.Counter
	publishes      map[relay.Code]prometheus.Counter
	publishesOther prometheus.Counter
	delivered      prometheus.Counter
	deliveredBytes prometheus.Counter
	requests       *prometheus.CounterVec // route, status
}

func newCounts(e *Edge) *counts {
	c := &counts{
		registry: prometheus.NewRegistry(),
		sessions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "meridian_edge_sessions", Help: "Sessions with a valid Hello."}, []string{"carrier"}),
		sessionsTotal: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meridian_edge_sessions_opened_total", Help: "Sessions whose Hello was valid."}, []string{"carrier"}),
		hellosRefused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meridian_edge_tokens_refused_total", Help: "Tokens refused at Hello, Refresh or an HTTP request."}, []string{"code"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meridian_edge_limited_total", Help: "Requests and sessions refused for a limit."}, []string{"code"}),
		admitted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "meridian_edge_publishes_admitted_total", Help: "Publishes within all limits."}),
		admittedBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "meridian_edge_published_bytes_total", Help: "Bytes of message bodies in publishes within all limits."}),
		delivered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "meridian_edge_delivered_messages_total", Help: "Messages handed to sessions and back-ends."}),
		deliveredBytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "meridian_edge_delivered_bytes_total", Help: "Bytes of the bodies of messages handed to sessions and back-ends."}),
		publishes: make(map[relay.Code]prometheus.Counter),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "meridian_edge_http_requests_total", Help: "HTTP requests of back-ends."}, []string{"route", "status"}),
	}
	publishes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "meridian_edge_publishes_total", Help: "Publishes by how they were answered."}, []string{"code"})
	for _, code := range relay.Codes() {
		c.publishes[code] = publishes.WithLabelValues(code.String())
	}
	c.publishesOther = publishes.WithLabelValues("other")
	for _, carrier := range []relay.Carrier{relay.WebTransport, relay.WebSocket, relay.QUIC} {
		c.sessions.WithLabelValues(string(carrier))
		c.sessionsTotal.WithLabelValues(string(carrier))
	}
	accounts := func(name, help string, b *book) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(b.len()) })
	}
	c.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		c.sessions, c.sessionsTotal, c.hellosRefused, c.limits, c.admitted, c.admittedBytes, publishes,
		c.delivered, c.deliveredBytes, c.requests,
		accounts("meridian_edge_subjects", "Subjects whose limits are kept.", e.subjects),
		accounts("meridian_edge_addresses", "Addresses whose limits are kept.", e.addresses),
	)
	return c
}

func (c *counts) handler() http.Handler {
	return promhttp.HandlerFor(c.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

func (c *counts) opened(carrier relay.Carrier) {
	c.sessions.WithLabelValues(string(carrier)).Inc()
	c.sessionsTotal.WithLabelValues(string(carrier)).Inc()
}

func (c *counts) closed(carrier relay.Carrier) { c.sessions.WithLabelValues(string(carrier)).Dec() }

func (c *counts) refusedHello(code relay.Code) { c.hellosRefused.WithLabelValues(code.String()).Inc() }

func (c *counts) limit(code relay.Code) { c.limits.WithLabelValues(code.String()).Inc() }

func (c *counts) published(n, bytes int) {
	c.admitted.Add(float64(n))
	c.admittedBytes.Add(float64(bytes))
}

func (c *counts) deliver(n, bytes int) {
	c.delivered.Add(float64(n))
	c.deliveredBytes.Add(float64(bytes))
}

func (c *counts) answered(code relay.Code) {
	if counter, ok := c.publishes[code]; ok {
		counter.Inc()
		return
	}
	c.publishesOther.Inc() // a code of a newer node
}

func (c *counts) request(route string, status int) {
	c.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
}
