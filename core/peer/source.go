package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// Chunks are offered by their sums first, so that what the other side has is not sent. While it
// has them, up to maxOffers are under way, so that a round trip does not set the pace; while it
// lacks them, chunks go without an offer, ever more of them up to maxPush, before it is asked
// again.
const (
	maxOffers = 8
	maxPush   = 64
)

// A source sends one state to one member.
type source struct {
	// set at construction
	p      *Peers
	frozen shard.Frozen
	stream relay.Stream

	// owned by run
	next    []byte   // where the next chunk begins
	last    bool     // there is none
	offered [][]byte // Data frames, by the order of their offers; at most maxOffers
	window  int      // how many may be offered
	push    int      // chunks to be sent without an offer
	pushed  int      // how many they were at the last time
}

// errStuck: the member has its slot, and nothing goes on.
var errStuck = errors.New("the member neither took nor answered anything")

// An answer is the receiver's: Keep, Need or Done.
type answer struct {
	t   frameType
	err error
}

// serveSnapshot sends the state that the dialler asks for.
func (p *Peers) serveSnapshot(ctx context.Context, from shard.Node, s relay.Session, stream relay.Stream, reader *frameReader) error {
	_ = stream.SetReadDeadline(time.Now().Add(helloWithin))
	t, b, err := reader.next()
	var a ask
	if err == nil && t != typeAsk {
		err = fmt.Errorf("%w: %#x in Ask's place", ErrUnsupported, t)
	}
	if err == nil {
		err = a.decode(b)
	}
	if err != nil {
		return err
	}
	_ = stream.SetReadDeadline(time.Time{})
	p.handouts.begin(a.handout())
	err = p.inTurn(s, stream, reader, &a)
	key := a.handout()
	failed, theirs := errors.AsType[*RefusedError](err)
	switch {
	case err == nil:
		p.handouts.end(key, nil)
	case theirs: // it gave up
		p.handouts.end(key, fmt.Errorf("fetch by node %s: %w", from, failed))
	case s.Context().Err() != nil || errors.Is(err, shard.ErrBusy):
		p.handouts.cut(key)
	default:
		p.cfg.Log.Warn("snapshot not sent", "node", from, "shard", a.shard, "error", err)
		p.handouts.end(key, err)
	}
	if err != nil && !theirs && s.Context().Err() == nil {
		_ = stream.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = stream.Write(appendRefusal(nil, typeFail, err))
	}
	_ = stream.Close()
	timer := time.NewTimer(time.Second) // to be read
	defer timer.Stop()
	select {
	case <-s.Context().Done():
	case <-timer.C:
	}
	return err
}

// inTurn sends a snapshot when there is a slot for it, and nobody else reads it.
func (p *Peers) inTurn(s relay.Session, stream relay.Stream, reader *frameReader, a *ask) error {
	end := p.readers.begin(a.snapshot, s)
	defer end()
	timer := time.NewTimer(p.cfg.SilentAfter)
	defer timer.Stop()
	select {
	case p.serving <- struct{}{}:
	case <-timer.C:
		return fmt.Errorf("%w: %d of node %s", shard.ErrBusy, p.cfg.Snapshots, p.cfg.Node)
	case <-s.Context().Done():
		return context.Cause(s.Context())
	}
	defer func() { <-p.serving }()
	p.counters.serving.Add(1)
	defer p.counters.serving.Add(-1)
	return p.sendSnapshot(s, stream, reader, a)
}

func (p *Peers) sendSnapshot(s relay.Session, stream relay.Stream, reader *frameReader, a *ask) error {
	frozen, ok := p.cfg.Snapshot(a.snapshot)
	if !ok {
		return fmt.Errorf("%w: number %d of %v", ErrGone, a.snapshot, a.shard)
	}
	defer frozen.Close()
	if at := frozen.At(); at != a.at {
		return fmt.Errorf("%w: number %d stands at %+v, not %+v", ErrGone, a.snapshot, at, a.at)
	}
	src := &source{p: p, frozen: frozen, stream: stream, next: a.key, window: 1}
	answers := make(chan answer, maxOffers)
	go func() { // ends with the session, at the latest
		for {
			t, err := readAnswer(reader)
			select {
			case answers <- answer{t, err}:
			case <-s.Context().Done():
				return
			}
			if err != nil || t == typeDone {
				return
			}
		}
	}()
	err := src.run(s.Context(), answers)
	if err != nil && s.Context().Err() == nil {
		// Why the other side ended its stream, if it did.
		select {
		case got := <-answers:
			if _, ok := errors.AsType[*RefusedError](got.err); ok {
				return got.err
			}
		default:
		}
	}
	return err
}

func readAnswer(r *frameReader) (frameType, error) {
	t, b, err := r.next()
	switch {
	case err == io.EOF:
		return t, errors.New("the member ended its stream in the middle")
	case err != nil:
		return t, err
	case t == typeFail:
		return t, decodeRefusal(b)
	case t != typeKeep && t != typeNeed && t != typeDone:
		return t, fmt.Errorf("%w: %#x as an answer to a chunk", ErrUnsupported, t)
	}
	return t, nil
}

// run sends chunks until the other side has all of them.
func (src *source) run(ctx context.Context, answers <-chan answer) error {
	patience := time.NewTimer(src.p.cfg.Patience)
	defer patience.Stop()
	for {
		if !src.last && (src.push > 0 && len(src.offered) == 0 || src.push == 0 && len(src.offered) < src.window) {
			if err := src.chunk(ctx); err != nil {
				return err
			}
			continue
		}
		patience.Reset(src.p.cfg.Patience)
		select {
		case <-patience.C:
			return fmt.Errorf("%w for %v", errStuck, src.p.cfg.Patience)
		case a := <-answers:
			if a.err != nil {
				return a.err
			}
			if a.t == typeDone {
				if !src.last || len(src.offered) > 0 {
					return fmt.Errorf("%w: Done before the end", ErrMalformed)
				}
				return src.write(appendFrame(nil, typeEnd, nil))
			}
			if err := src.answered(ctx, a.t); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// chunk reads one more, and offers or sends it.
func (src *source) chunk(ctx context.Context) error {
	c, err := src.frozen.Chunk(src.next, src.p.cfg.ChunkSize)
	if err != nil {
		return fmt.Errorf("read a snapshot: %w", err)
	}
	data, err := appendData(nil, &c)
	if err != nil {
		return err
	}
	src.last = len(c.To) == 0
	src.next = bytes.Clone(c.To)
	if src.push > 0 {
		src.push--
		return src.send(ctx, data)
	}
	src.offered = append(src.offered, data)
	o := offer{from: c.From, to: c.To, sum: c.Sum, bytes: uint64(len(data))}
	return src.write(o.append(nil))
}

// write writes, and waits no longer than Patience for room.
func (src *source) write(b []byte) error {
	_ = src.stream.SetWriteDeadline(time.Now().Add(src.p.cfg.Patience))
	_, err := src.stream.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("%w for %v", errStuck, src.p.cfg.Patience)
	}
	return err
}

// answered goes by what the other side said of the oldest offer.
func (src *source) answered(ctx context.Context, t frameType) error {
	if len(src.offered) == 0 {
		return fmt.Errorf("%w: an answer without an offer", ErrMalformed)
	}
	data := src.offered[0]
	src.offered[0] = nil
	src.offered = src.offered[1:]
	if t == typeKeep {
		src.window = min(2*src.window, maxOffers)
		src.push, src.pushed = 0, 0
		src.p.counters.kept.Add(1)
		src.p.counters.keptBytes.Add(uint64(len(data)))
		return nil
	}
	src.window = 1
	src.pushed = min(2*src.pushed+1, maxPush)
	src.push = src.pushed
	return src.send(ctx, data)
}

// send sends a chunk, no faster than the node may.
func (src *source) send(ctx context.Context, data []byte) error {
	for n, burst := len(data), src.p.limit.Burst(); n > 0; n -= burst {
		if err := src.p.limit.WaitN(ctx, min(n, burst)); err != nil {
			return err
		}
	}
	if err := src.write(data); err != nil {
		return err
	}
	src.p.counters.sent[Snapshot].add(1, len(data))
	return nil
}

// readers is who reads which snapshot: one at a time, the last who came. Whoever comes back after
// a cut may be here before the cut was noticed.
type readers struct {
	mu   sync.Mutex
	open map[uint64]reading
}

type reading struct {
	session relay.Session
	done    chan struct{}
}

// begin waits until nobody else reads, which it brings about. end has to be called.
func (r *readers) begin(snapshot uint64, s relay.Session) (end func()) {
	mine := reading{s, make(chan struct{})}
	for {
		r.mu.Lock()
		older, ok := r.open[snapshot]
		if !ok {
			if r.open == nil {
				r.open = make(map[uint64]reading)
			}
			r.open[snapshot] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				delete(r.open, snapshot)
				close(mine.done)
			}
		}
		r.mu.Unlock()
		older.session.Close(relay.Cancelled, "the member asked again")
		<-older.done
	}
}
