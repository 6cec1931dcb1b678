package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/meridian-relay/meridian/relay/wire"
)

// A publish's ref carries its size, so that the answer frees it without a table.
const (
	sizeBits = 24
	sizeMask = 1<<sizeBits - 1
)

// A Source describes a stream of messages.
type Source struct {
	Channels []string // in turn
	Size     int      // of the payload, bytes
	Class    uint8
	// Rate is messages a second; 0: as fast as they are acknowledged.
	Rate float64
	// Ahead bounds a source without a Rate: so many messages beyond what the slowest session
	// has received, so that nobody falls out of the ring. 0: no bound.
	Ahead int
}

// Publish publishes on a session of its own until ctx is done or something fails.
func (l *Load) Publish(ctx context.Context, src Source) error {
	if l.cfg.Bare {
		return errors.New("the baseline takes no publishes")
	}
	s, err := l.dial()
	if err != nil {
		return fmt.Errorf("publisher: %w", err)
	}
	defer s.close()
	p := publisher{session: s, src: src, limit: 256 << 10}
	if u := s.limits.GetUnanswered(); u > 0 {
		p.limit = min(p.limit, int64(u)/2)
	}
	if src.Rate > 0 {
		err = p.pace(ctx)
	} else {
		err = p.flood(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

type publisher struct {
	session *session
	src     Source
	limit   int64 // bytes unanswered
	turn    int
	n       uint64
}

// pace publishes at the source's rate. Where it fell behind it catches up: a rate is a rate.
func (p *publisher) pace(ctx context.Context) error {
	begin := time.Now()
	for sent := 1; ; sent++ {
		due := begin.Add(time.Duration(float64(sent) / p.src.Rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return nil
			case <-p.session.load.ctx.Done():
				return p.session.load.Err()
			}
		}
		if err := p.wait(ctx, func() bool { return p.session.inflight.Load() < p.limit }); err != nil {
			return err
		}
		if err := p.session.write(p.append(nil)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
}

// flood publishes as fast as answers and readers allow, many to a write.
func (p *publisher) flood(ctx context.Context) error {
	const chunk = 16 << 10
	var b []byte
	sent := int64(0)
	slowest := p.slowest()
	begun := slowest
	free := func() bool {
		if p.session.inflight.Load() >= p.limit {
			return false
		}
		if p.src.Ahead > 0 && sent-(slowest-begun) >= int64(p.src.Ahead) {
			slowest = p.slowest()
			return sent-(slowest-begun) < int64(p.src.Ahead)
		}
		return true
	}
	for {
		if err := p.wait(ctx, free); err != nil {
			return err
		}
		b = b[:0]
		for len(b) < chunk && (len(b) == 0 || free()) {
			b = p.append(b)
			sent++
		}
		if err := p.session.write(b); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
}

// slowest returns what the session that received least has received.
func (p *publisher) slowest() int64 {
	least := int64(math.MaxInt64)
	for _, s := range p.session.load.sessions {
		least = min(least, s.got.Load())
	}
	return least
}

// wait waits until ready, which an answer or a little time can bring about.
func (p *publisher) wait(ctx context.Context, ready func() bool) error {
	for !ready() {
		select {
		case <-p.session.room:
		case <-time.After(200 * time.Microsecond):
		case <-ctx.Done():
			return ctx.Err()
		case <-p.session.load.ctx.Done():
			return p.session.load.Err()
		}
	}
	return nil
}

// append appends the next publish.
func (p *publisher) append(b []byte) []byte {
	body := protowire.AppendTag(nil, 1, protowire.BytesType)
	body = protowire.AppendVarint(body, uint64(max(p.src.Size, headSize)))
	body = AppendPayload(body, p.src.Class, p.src.Size)
	channel := p.src.Channels[p.turn%len(p.src.Channels)]
	p.turn++
	p.n++
	ref := (p.n%(1<<28)+1)<<sizeBits | uint64(len(body))
	p.session.inflight.Add(int64(len(body)))
	return wire.AppendPublish(b, ref, wire.PublishView{Channel: []byte(channel), Body: body})
}
