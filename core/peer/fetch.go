package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// Fetch stages the state that f names, from where staging stands. It goes on after cuts, until it
// makes no progress for Patience. It waits for one of the slots of Config.Snapshots first. The
// staging stays the caller's. Errors: ErrGone, the leader has it no more; what staging returned.
func (p *Peers) Fetch(ctx context.Context, f *shard.Fetch, staging shard.Staging) error {
	p.mu.Lock()
	if p.ctx == nil || p.closed {
		p.mu.Unlock()
		return errors.New("peer: Fetch while Run does not run")
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()
	defer cancel()
	defer stop()

	select {
	case p.fetching <- struct{}{}:
		defer func() { <-p.fetching }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.counters.fetching.Add(1)
	defer p.counters.fetching.Add(-1)

	r := receiver{p: p, fetch: f, staging: staging, progress: time.Now()}
	backoff := time.Duration(0)
	for attempt := 0; ; attempt++ {
		if attempt > 0 {
			p.counters.resumed.Add(1)
		}
		before := r.progress
		err := r.attempt(ctx)
		if errors.Is(err, shard.ErrBusy) {
			r.progress = time.Now() // others make some
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("fetch the state of %v: %w", f.Replica.Shard, context.Cause(ctx))
		case r.final != nil:
			return fmt.Errorf("fetch the state of %v from node %s: %w", f.Replica.Shard, f.From, r.final)
		case time.Since(r.progress) >= p.cfg.Patience:
			return fmt.Errorf("fetch the state of %v from node %s: no progress for %v: %w", f.Replica.Shard, f.From, p.cfg.Patience, err)
		}
		if r.progress != before && !errors.Is(err, shard.ErrBusy) {
			backoff = 0
		}
		p.cfg.Log.Info("fetch of a snapshot was cut; going on", "node", f.From, "shard", f.Replica.Shard, "error", err)
		backoff = min(max(2*backoff, p.cfg.MinBackoff), p.cfg.MaxBackoff)
		sleep(ctx, jitter(backoff), nil)
	}
}

// A receiver stages one state.
type receiver struct {
	// set at construction
	p       *Peers
	fetch   *shard.Fetch
	staging shard.Staging

	progress time.Time // when a chunk came last
	final    error     // after which trying again is of no use
	chunk    shard.Chunk
	offers   []offer // not answered yet; the first may wait for its Data; at most maxOffers
	waiting  bool    // the first was answered Need
}

// attempt connects, and stages until all is there.
func (r *receiver) attempt(ctx context.Context) error {
	key, done := r.staging.From()
	if done {
		return nil
	}
	l, err := r.p.dial(ctx, r.fetch.From, forSnapshot)
	if err != nil {
		return err
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		// The leader should know that nobody comes back.
		_ = l.stream.SetReadDeadline(time.Unix(1, 0))
		close(woken)
	})
	f := r.fetch
	a := ask{shard: f.Replica.Shard, to: f.Replica.Number, snapshot: f.Snapshot, at: f.At, key: key}
	r.offers, r.waiting = r.offers[:0], false
	err = r.run(ctx, l, &a)
	if !stop() {
		<-woken // deadlines are ours again
	}
	if err == nil {
		_ = l.stream.SetReadDeadline(time.Now().Add(time.Second))
		_, _, _ = l.reader.next() // End: the leader knows
		l.session.Close(relay.Done, "")
		return nil
	}
	if ctx.Err() != nil && r.final == nil {
		r.final = context.Cause(ctx)
	}
	if _, theirs := errors.AsType[*RefusedError](err); r.final != nil && !theirs {
		_ = l.stream.SetWriteDeadline(time.Now().Add(time.Second))
		if _, werr := l.stream.Write(appendRefusal(nil, typeFail, r.final)); werr == nil {
			_ = l.stream.Close()
			_ = l.stream.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = io.Copy(io.Discard, l.stream) // until it was read
		}
	}
	l.session.Close(relay.Cancelled, err.Error())
	return err
}

func (r *receiver) run(ctx context.Context, l *line, a *ask) error {
	if _, err := l.stream.Write(a.append(nil)); err != nil {
		return err
	}
	for {
		// Its node may live, with a disk that hangs.
		_ = l.stream.SetReadDeadline(time.Now().Add(r.p.cfg.Patience))
		if ctx.Err() != nil { // its end may have set the deadline before
			return context.Cause(ctx)
		}
		t, b, err := l.reader.next()
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil {
			err = fmt.Errorf("the leader's node sent nothing for %v", r.p.cfg.Patience)
		}
		if err == io.EOF {
			err = errors.New("the leader's node ended the stream in the middle")
		}
		if err != nil {
			return err
		}
		switch t {
		case typeOffer:
			err = r.offered(b)
		case typeData:
			err = r.data(b)
		case typeFail:
			err = decodeRefusal(b)
			if !errors.Is(err, shard.ErrBusy) {
				r.final = err
			}
		default:
			err = fmt.Errorf("%w: %#x in a snapshot", ErrUnsupported, t)
		}
		if err != nil {
			return err
		}
		if err := r.answer(l.stream); err != nil {
			return err
		}
		if _, done := r.staging.From(); done {
			_, err := l.stream.Write(appendFrame(nil, typeDone, nil))
			return err
		}
	}
}

func (r *receiver) offered(b []byte) error {
	if len(r.offers) >= maxOffers {
		return fmt.Errorf("%w: more than %d offers at once", ErrMalformed, maxOffers)
	}
	var o offer
	err := o.decode(b)
	r.offers = append(r.offers, o)
	return err
}

// data takes a chunk: the first offer's, or, without an offer, the next.
func (r *receiver) data(b []byte) error {
	if len(r.offers) > 0 && !r.waiting {
		return fmt.Errorf("%w: Data between Offer and answer", ErrMalformed)
	}
	if err := decodeData(b, &r.chunk); err != nil {
		return err
	}
	if r.waiting {
		o := &r.offers[0]
		if !bytes.Equal(o.from, r.chunk.From) || !bytes.Equal(o.to, r.chunk.To) || o.sum != r.chunk.Sum {
			return fmt.Errorf("%w: Data is not what was offered", ErrMalformed)
		}
		r.pop()
	}
	if err := r.staging.Put(r.chunk); err != nil {
		r.final = fmt.Errorf("stage a chunk: %w", err)
		return r.final
	}
	r.progress = time.Now()
	r.p.counters.received[Snapshot].add(1, len(b))
	return nil
}

func (r *receiver) pop() {
	r.waiting = false
	r.offers = append(r.offers[:0], r.offers[1:]...)
}

// answer answers offers, up to one that is needed.
func (r *receiver) answer(w io.Writer) error {
	for len(r.offers) > 0 && !r.waiting {
		o := &r.offers[0]
		have, err := r.staging.Keep(o.from, o.to, o.sum)
		if err != nil {
			r.final = fmt.Errorf("stage a chunk: %w", err)
			return r.final
		}
		t := typeNeed
		if have {
			t = typeKeep
			r.progress = time.Now()
			r.pop()
		} else {
			r.waiting = true
		}
		if _, err := w.Write(appendFrame(nil, t, nil)); err != nil {
			return err
		}
	}
	return nil
}
