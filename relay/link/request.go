package link

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

const (
	publishOverhead = 128      // bytes that an unanswered publish counts beyond its body
	defaultCredit   = 64 << 10 // bytes
	maxAge          = 24 * time.Hour
	framesPerSecond = 20_000
)

// requests reads the requests of one stream.
type requests struct {
	server  *Server
	lane    *lane
	r       *wire.Reader
	last    uint64        // the highest ref seen
	small   allowance     // of frames but for publishes that are admitted, whose rate is the Gate's
	channel relay.Channel // of the last publish, so that a run of them parses it once
}

// serve reads until the peer has finished the stream, which returns nil.
func (r *requests) serve() error {
	for {
		r.lane.waitRoom()
		f, err := r.r.Next()
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.server.over.Load() {
			continue
		}
		if err := r.handle(f); err != nil {
			return err
		}
	}
}

func (r *requests) handle(f wire.Frame) error {
	switch f.Type {
	case wire.TypePublish, wire.TypeSubscribe, wire.TypeRefresh, wire.TypePing:
		if f.Ref <= r.last {
			return end(relay.Protocol, "%v with ref %d after ref %d: refs of a stream increase", f.Type, f.Ref, r.last)
		}
		r.last = f.Ref
	case wire.TypeCredit, wire.TypeCancel:
		if f.Ref == 0 || f.Ref > r.last {
			return end(relay.Protocol, "%v for ref %d, which this stream has not used", f.Type, f.Ref)
		}
	default:
		return end(relay.Protocol, "%v is out of place", f.Type)
	}
	if f.Type == wire.TypePublish {
		return r.publish(f)
	}
	if err := r.pace(); err != nil {
		return err
	}
	switch f.Type {
	case wire.TypeSubscribe:
		aside(func() { r.subscribe(f) })
	case wire.TypeRefresh:
		var err error
		aside(func() { err = r.refresh(f) })
		return err
	case wire.TypePing:
		r.lane.commit(wire.AppendFrame(r.lane.begin(), wire.TypePong, f.Ref, nil))
	case wire.TypeCredit:
		return r.credit(f)
	case wire.TypeCancel:
		if s := r.feed(f.Ref); s != nil {
			s.end(relay.End{Code: relay.Cancelled})
		}
	}
	return nil
}

// feed returns the subscription that was asked for on this stream under ref; nil: none is left.
func (r *requests) feed(ref uint64) *feed {
	if f := r.server.feed(ref); f != nil && f.asked == r.lane {
		return f
	}
	return nil
}

// refuse answers the request ref with e.
func (r *requests) refuse(ref uint64, e relay.End) {
	r.lane.commit(appendEnd(r.lane.begin(), ref, e, relay.Position{}))
}

// pace ends the session of a peer that asks too fast. A process of the fleet may: after a lost
// link it asks for all its channels at once.
func (r *requests) pace() error {
	if r.server.grant.Load().Hop || r.small.take(framesPerSecond, 2*framesPerSecond) {
		return nil
	}
	return end(relay.RequestRate, "more than %d requests a second on one stream", framesPerSecond)
}

// publish paces only what it refuses: the rate of the others is the Gate's.
func (r *requests) publish(f wire.Frame) error {
	p, e := r.publication(f)
	if e.Code == relay.Done {
		e = r.server.cfg.Gate.Publish(p.Channel, len(p.Body))
	}
	if e.Code != relay.Done {
		r.refuse(f.Ref, e)
		return r.pace()
	}
	s, l, ref := r.server, r.lane, f.Ref
	cost := int64(len(p.Body) + publishOverhead)
	if s.inWork.Add(cost) > s.unanswered {
		s.inWork.Add(-cost)
		r.refuse(ref, relay.End{
			Code: relay.Busy, RetryAfter: relay.BusyRetry,
			Detail: fmt.Sprintf("more than %d bytes of publishes are unanswered on this session", s.unanswered),
		})
		return r.pace()
	}
	l.mu.Lock()
	l.requests++
	l.mu.Unlock()
	var held *body
	p.Body, held = holdBody(p.Body)
	err := s.cfg.Upstream.Publish(p, func(at relay.Position, e relay.End) {
		held.release()
		s.inWork.Add(-cost)
		b := l.begin()
		if e.Code == relay.Done {
			b = wire.AppendOK(b, ref, uint64(at.Epoch), uint64(at.Seq), 0, 0)
		} else {
			b = appendEnd(b, ref, e, at)
		}
		l.settle(b)
	})
	if err != nil {
		held.release()
		s.inWork.Add(-cost)
		l.settle(appendEnd(l.begin(), ref, relay.Refusal(err), relay.Position{}))
	}
	return nil
}

// publication checks a Publish and returns what goes upstream; its body is a part of f.
func (r *requests) publication(f wire.Frame) (relay.Publication, relay.End) {
	var p relay.Publication
	s := r.server
	if f.Skipped {
		return p, refusal(relay.TooLarge, "the frame is longer than %d bytes", f.Type.Bound())
	}
	v, err := wire.ScanPublish(f.Body)
	if err != nil {
		return p, refusal(relay.BadRequest, "%v", err)
	}
	if r.channel == "" || string(v.Channel) != string(r.channel) {
		ch, err := relay.ParseChannel(string(v.Channel))
		if err != nil {
			return p, refusal(relay.BadChannel, "%v", err)
		}
		r.channel = ch
	}
	grant := s.grant.Load()
	if e := allowed(grant, relay.ActPublish, r.channel); e.Code != relay.Done {
		return p, e
	}
	p = relay.Publication{
		Channel: r.channel, Subject: grant.Subject, N: v.N, Void: v.Void,
		Age: min(time.Duration(min(v.AgeMS, 1<<40))*time.Millisecond, maxAge),
	}
	switch {
	case len(v.Producer) == 0 && v.N == 0 && !v.Void:
	case len(v.Producer) != len(p.Producer):
		return p, refusal(relay.BadRequest, "producer of %d bytes; it has %d, or none with n 0", len(v.Producer), len(p.Producer))
	case v.N == 0 || v.N > relay.MaxNumber:
		return p, refusal(relay.BadRequest, "n is %d; a producer's numbers are 1 to 2^53-1", v.N)
	}
	copy(p.Producer[:], v.Producer)
	if len(v.Producer) != 0 && p.Producer.IsZero() {
		return p, refusal(relay.BadRequest, "the producer is all zero; take 16 random bytes")
	}
	if grant.Hop {
		p.Subject = relay.Subject(v.Subject)
	} else if len(v.Subject) > 0 {
		return p, refusal(relay.BadRequest, "subject is the relay's to set")
	}
	if v.Void {
		if len(v.Body) > 0 {
			return p, refusal(relay.BadRequest, "a void publish has a body of %d bytes; it has none", len(v.Body))
		}
		return p, relay.End{}
	}
	size, err := wire.CheckPublished(v.Body)
	switch {
	case errors.Is(err, wire.ErrTooLarge):
		return p, refusal(relay.TooLarge, "%v", err)
	case err != nil:
		return p, refusal(relay.BadRequest, "%v", err)
	case size.Payload > s.payload:
		return p, refusal(relay.TooLarge, "payload of %d bytes; at most %d", size.Payload, s.payload)
	}
	p.Body = v.Body
	return p, relay.End{}
}

func (r *requests) subscribe(f wire.Frame) {
	var m wire.Subscribe
	if err := unmarshal(f, &m); err != nil {
		r.refuse(f.Ref, refusal(relay.BadRequest, "%v", err))
		return
	}
	req, e := r.server.subscribeRequest(&m)
	if e.Code == relay.Done {
		e = r.server.cfg.Gate.Subscribe(req.Channel)
	}
	if e.Code != relay.Done {
		r.refuse(f.Ref, e)
		return
	}
	r.server.open(r.lane, f.Ref, &m, req)
}

// subscribeRequest checks a Subscribe.
func (s *Server) subscribeRequest(m *wire.Subscribe) (relay.SubscribeRequest, relay.End) {
	var req relay.SubscribeRequest
	ch, err := relay.ParseChannel(m.Channel)
	if err != nil {
		return req, refusal(relay.BadChannel, "%v", err)
	}
	grant := s.grant.Load()
	req = relay.SubscribeRequest{
		Channel: ch, Subject: grant.Subject, Limit: m.Limit, Barrier: m.Barrier,
		Mode: relay.Mode(m.Mode), From: relay.Start{Kind: relay.StartKind(m.Start)},
	}
	if grant.Hop {
		req.Subject = relay.Subject(m.Subject)
	} else if m.Subject != "" {
		return req, refusal(relay.BadRequest, "subject is the relay's to set")
	}
	if m.Mode < 0 || m.Mode > wire.Mode_MODE_LATEST {
		return req, refusal(relay.BadRequest, "mode %d is unknown; modes are 0 (reliable) and 1 (latest)", m.Mode)
	}
	switch m.Start {
	case wire.Start_START_LIVE, wire.Start_START_FIRST:
	case wire.Start_START_AFTER:
		if m.Epoch > relay.MaxNumber || m.Seq > relay.MaxNumber {
			return req, refusal(relay.BadRequest, "position %d:%d: EPOCH and SEQ are below 2^53", m.Epoch, m.Seq)
		}
		req.From.After = position(m.Epoch, m.Seq)
	case wire.Start_START_LAST:
		req.From.Count = min(m.Count, relay.MaxNumber)
	case wire.Start_START_SINCE:
		req.From.Since = time.Duration(min(m.SinceMs, uint64(maxSince.Milliseconds()))) * time.Millisecond
	default:
		return req, refusal(relay.BadRequest, "start %d is unknown; starts are 0 to 4", m.Start)
	}
	if m.Datagram && req.Mode != relay.Latest {
		return req, refusal(relay.BadRequest, "datagram goes with mode latest only: datagrams get lost")
	}
	if m.Credit > relay.MaxNumber {
		return req, refusal(relay.BadRequest, "credit of %d bytes is not below 2^53", m.Credit)
	}
	return req, allowed(grant, req.Needs(), ch)
}

const maxSince = 10 * 365 * 24 * time.Hour

func (r *requests) refresh(f wire.Frame) error {
	var m wire.Refresh
	if err := unmarshal(f, &m); err != nil {
		return err
	}
	grant, err := r.server.authorize(m.Token)
	var e *relay.Error
	if errors.As(err, &e) {
		r.refuse(f.Ref, e.End)
		return nil
	}
	if old := r.server.grant.Load(); !old.Hop && old.Subject != grant.Subject {
		return end(relay.Unauthorized, "the new token speaks for another subject; connect anew")
	}
	expires := r.server.setGrant(grant)
	r.lane.commit(wire.AppendProto(r.lane.begin(), wire.TypeOK, f.Ref, &wire.OK{TokenExpiresMs: millis(expires)}))
	return nil
}

func (r *requests) credit(f wire.Frame) error {
	bytes, err := wire.ScanCredit(f.Body)
	if err != nil {
		return err
	}
	s := r.feed(f.Ref)
	if s != nil && !s.grant(bytes) {
		return end(relay.Protocol, "credit of ref %d is not below 2^53 bytes", f.Ref)
	}
	return nil
}

// allowed refuses what the grant does not allow, naming the action.
func allowed(g *relay.Grant, a relay.Action, ch relay.Channel) relay.End {
	if g.Allows(a, ch) {
		return relay.End{}
	}
	var missing []string
	for name, b := range relay.Actions {
		if a&b != 0 && !g.Allows(b, ch) {
			missing = append(missing, name)
		}
	}
	slices.Sort(missing)
	return refusal(relay.Forbidden, "the token has no capability to %s on %q", strings.Join(missing, " and "), ch)
}

func refusal(code relay.Code, format string, args ...any) relay.End {
	return relay.End{Code: code, Detail: fmt.Sprintf(format, args...)}
}
