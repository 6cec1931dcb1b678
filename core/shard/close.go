package shard

import "github.com/meridian-relay/meridian/relay"

// Close answers everybody who still waits: what is in a log may take effect yet. The Host is not
// used after it; what stands stays as it is.
func (h *Host) Close() {
	for _, s := range h.Shards() {
		r := h.shards[s]
		r.role, r.leads, r.stopped = Following, false, true
		r.end(relay.End{Code: relay.Unavailable, RetryAfter: relay.BusyRetry, Detail: s.String() + ": the node is shutting down"})
	}
}

// Abandon answers those whose publishes a has, and those who proposed commands, instead of
// running it: its entries are in the log, and take effect when the node runs again.
func (a *Apply) Abandon() {
	end := relay.End{Code: relay.Unknown, Detail: a.Replica.Shard.String() + ": the node is shutting down"}
	a.Result.answers = nil
	for i, p := range a.proposals {
		if p == nil {
			continue
		}
		for _, answer := range p.answers {
			answer(relay.Position{}, end)
		}
		if p.done != nil {
			p.done(end.Err())
		}
		a.proposals[i] = nil
	}
}
