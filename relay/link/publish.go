package link

import (
	"time"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

// A publish waits for its answer.
type publish struct {
	answer func(relay.Position, relay.End)
	cost   int
	since  time.Time
}

// Publish implements relay.Upstream. It returns ErrBusy past the bytes that the peer lets
// stand without an answer, and ErrUnavailable once the link has ended.
func (l *Link) Publish(p relay.Publication, answer func(relay.Position, relay.End)) error {
	cost := len(p.Body) + publishOverhead
	v := wire.PublishView{
		Channel: []byte(p.Channel), N: p.N, AgeMS: millis(p.Age), Void: p.Void,
		Subject: []byte(p.Subject), Body: p.Body,
	}
	if !p.Producer.IsZero() {
		v.Producer = p.Producer[:]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return relay.ErrUnavailable
	}
	// One publish always passes, however large: the peer refuses it by its limits.
	if l.unanswered > 0 && l.unanswered+cost > int(l.welcome.GetLimits().GetUnanswered()) {
		return relay.ErrBusy
	}
	l.unanswered += cost
	ref, b := l.next()
	l.publishes[ref] = &publish{answer, cost, time.Now()}
	l.up.commit(wire.AppendPublish(b, ref, v))
	if l.sweeper == nil {
		l.sweeper = time.AfterFunc(sweepEvery, l.sweep)
	}
	return nil
}

// answer handles an OK or End; done if it answered a publish, a Refresh or a Ping.
func (l *Link) answer(f wire.Frame) (done bool, err error) {
	l.mu.Lock()
	p, ok := l.publishes[f.Ref]
	if ok {
		delete(l.publishes, f.Ref)
		l.unanswered -= p.cost
	}
	_, isCall := l.calls[f.Ref]
	l.mu.Unlock()
	if !ok && !isCall {
		return false, nil
	}
	var at relay.Position
	var e relay.End
	var expires time.Duration
	if f.Type == wire.TypeEnd {
		e, at, err = parseEnd(f.Body)
	} else if ok {
		at, err = scanOK(f)
	} else {
		var m wire.OK
		err = unmarshal(f, &m)
		expires = duration(m.TokenExpiresMs)
	}
	if err != nil {
		e = relay.End{Code: relay.Unknown, Detail: err.Error()}
	}
	if ok {
		p.answer(at, e)
	} else {
		l.reply(f.Ref, reply{expires, e})
	}
	return true, err
}

func scanOK(f wire.Frame) (relay.Position, error) {
	epoch, seq, err := wire.ScanOK(f.Body)
	return position(epoch, seq), err
}

// sweep answers publishes that have waited too long; a late answer finds nobody.
func (l *Link) sweep() {
	var late []*publish
	l.mu.Lock()
	for ref, p := range l.publishes {
		if time.Since(p.since) >= giveUpAfter {
			late = append(late, p)
			delete(l.publishes, ref)
			l.unanswered -= p.cost
		}
	}
	if len(l.publishes) > 0 {
		l.sweeper.Reset(sweepEvery)
	} else {
		l.sweeper = nil
	}
	l.mu.Unlock()
	for _, p := range late {
		p.answer(relay.Position{}, relay.End{Code: relay.Unknown, Detail: "no answer within 25 s"})
	}
}
