package link

import (
	"errors"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// open starts the subscription that m asks for, whose answers come on l.
func (s *Server) open(l *lane, ref uint64, m *wire.Subscribe, req relay.SubscribeRequest) {
	f := &feed{ref: ref, server: s, lane: l, asked: l, channel: req.Channel, needs: req.Needs(), credit: int64(m.Credit)}
	if f.credit == 0 {
		f.credit = defaultCredit
	}
	f.queue = &l.queue
	switch {
	case m.Datagram && s.session.Peer().Carrier != relay.WebSocket:
		f.free = true
		f.queue = s.datagramQueue()
	case m.Own:
		s.ownLane(f)
	}
	s.mu.Lock()
	_, used := s.feeds[ref]
	if !used {
		s.feeds[ref] = f
	}
	s.mu.Unlock()
	if used { // only another stream can have used it
		s.cfg.Gate.Unsubscribe(req.Channel)
		s.Close(relay.Protocol, "a ref was used on two streams")
		return
	}
	// A token that came between the check and here did not see f.
	if e := allowed(s.grant.Load(), f.needs, f.channel); e.Code != relay.Done {
		f.end(e)
	}
	l.mu.Lock()
	l.requests++
	l.mu.Unlock()
	f.opened(s.cfg.Upstream.Subscribe(req, f.wake))
}

// ownLane gives f a stream of its own, if the peer takes one more; else it stays where it is.
func (s *Server) ownLane(f *feed) {
	s.mu.Lock()
	ok := s.ownLanes < s.lanes
	if ok {
		s.ownLanes++
	}
	s.mu.Unlock()
	if !ok {
		return
	}
	out, err := s.session.OpenUni()
	if err != nil {
		s.freeLane()
		return
	}
	l := newLane(out, &s.writers, func(err error) { s.lost(f, err) })
	f.own, f.lane, f.queue = true, l, &l.queue
}

// freeLane counts one lane less.
func (s *Server) freeLane() {
	s.mu.Lock()
	s.ownLanes--
	s.mu.Unlock()
}

func (s *Server) datagramQueue() *queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dgrams == nil {
		s.dgrams = newDatagrams(s.session, &s.writers)
	}
	return &s.dgrams.queue
}

// lost ends f, whose own stream can no longer be written: the End comes on the stream of its
// request. The lane's writer calls it, so that nobody else uses f.
func (s *Server) lost(f *feed, err error) {
	e := relay.End{Code: relay.Cancelled, Detail: "its stream was closed by the peer"}
	if errors.Is(err, errStalled) {
		e = relay.End{Code: relay.SlowReader, Detail: err.Error()}
	}
	f.lane.out.CancelWrite(e.Code)
	s.mu.Lock()
	_, live := s.feeds[f.ref]
	delete(s.feeds, f.ref)
	s.mu.Unlock()
	if !live {
		return // ended before, or the session is ending and closes it
	}
	f.queue.mu.Lock()
	f.state = stateDone
	f.queue.mu.Unlock()
	f.sub.Close()
	f.asked.settle(appendEnd(f.asked.begin(), f.ref, e, f.at))
	s.cfg.Gate.Unsubscribe(f.channel)
	s.freeLane()
}

// abandon ends the subscriptions that were asked for on l, if its stream failed: those with a
// writer of their own are told so, of the others nobody can be. The reader of l's requests calls
// it when it has ended.
func (s *Server) abandon(l *lane) {
	l.mu.Lock()
	broken := l.broken
	l.mu.Unlock()
	if !broken {
		return // they have ended, or the session is ending and closes them
	}
	for _, f := range s.snapshot() {
		switch {
		case f.asked != l:
		case f.queue != &l.queue:
			f.end(relay.End{Code: relay.Cancelled, Detail: "the stream of its request is gone"})
		default:
			s.mu.Lock()
			delete(s.feeds, f.ref)
			s.mu.Unlock()
			f.queue.mu.Lock()
			f.state = stateDone
			f.queue.mu.Unlock()
			f.sub.Close()
			s.cfg.Gate.Unsubscribe(f.channel)
		}
	}
}

// ended removes f, whose End was appended. f's writer calls it.
func (s *Server) ended(f *feed) {
	s.mu.Lock()
	_, live := s.feeds[f.ref]
	delete(s.feeds, f.ref)
	s.mu.Unlock()
	if !live {
		return
	}
	s.cfg.Gate.Unsubscribe(f.channel)
	l := f.asked
	l.mu.Lock()
	l.requests--
	l.kick()
	l.mu.Unlock()
	if f.own {
		f.lane.noMore()
		s.freeLane()
	}
}

func (s *Server) feed(ref uint64) *feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feeds[ref]
}

// cancelLane ends the subscriptions whose answers come on l.
func (s *Server) cancelLane(l *lane) {
	for _, f := range s.snapshot() {
		if f.asked == l {
			f.end(relay.End{Code: relay.Cancelled})
		}
	}
}

// setGrant puts a new grant in force and ends what it no longer allows.
func (s *Server) setGrant(g *relay.Grant) (expires time.Duration) {
	expires = s.enforce(g)
	for _, f := range s.snapshot() {
		if e := allowed(g, f.needs, f.channel); e.Code != relay.Done {
			f.end(e)
		}
	}
	return expires
}

func (s *Server) snapshot() []*feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*feed, 0, len(s.feeds))
	for _, f := range s.feeds {
		list = append(list, f)
	}
	return list
}
