package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/meridian-relay/meridian/core/shard"
	"github.com/meridian-relay/meridian/relay"
)

// Serve serves a session that another node dialled, until it ends. It is for transport's
// PeerConfig.Also, under ALPN.
func (p *Peers) Serve(ctx context.Context, s relay.Session) {
	p.mu.Lock()
	if p.ctx == nil || p.closed {
		p.mu.Unlock()
		s.Close(relay.GoingAway, "the node is starting or stopping")
		return
	}
	stop := context.AfterFunc(p.ctx, func() { s.Close(relay.GoingAway, "the node is stopping") })
	p.wg.Add(1)
	p.mu.Unlock()
	defer p.wg.Done()
	defer stop()
	if err := p.serve(ctx, s); err != nil && s.Context().Err() == nil {
		s.Close(relay.Protocol, err.Error())
	}
}

// helloWithin is the longest that a Hello may take.
const helloWithin = 3 * time.Second

func (p *Peers) serve(ctx context.Context, s relay.Session) error {
	within, cancel := context.WithTimeout(ctx, helloWithin)
	defer cancel()
	stream, err := s.Accept(within)
	if err != nil {
		return fmt.Errorf("no Hello within %v: %w", helloWithin, err)
	}
	deadline, _ := within.Deadline()
	_ = stream.SetReadDeadline(deadline)
	_ = stream.SetWriteDeadline(deadline)
	reader := newFrameReader(stream)
	var h hello
	t, b, err := reader.next()
	if err == nil && t != typeHello {
		err = fmt.Errorf("%w: %#x in Hello's place", ErrUnsupported, t)
	}
	if err == nil {
		err = h.decode(b)
	}
	if err == nil && h.purpose != forRaft && h.purpose != forSnapshot {
		err = fmt.Errorf("%w: purpose %d", ErrUnsupported, h.purpose)
	}
	if err == nil {
		err = p.cfg.judge(&h, s.Peer().Names)
	}
	if err != nil {
		return p.refuse(s, stream, err)
	}
	w := welcome{used: min(h.high, highest), store: p.cfg.Store, version: p.cfg.Version, incarnations: p.cfg.Incarnations()}
	if _, err := stream.Write(w.append(nil)); err != nil {
		return fmt.Errorf("write Welcome: %w", err)
	}
	_ = stream.SetReadDeadline(time.Time{})
	_ = stream.SetWriteDeadline(time.Time{})
	if h.purpose == forSnapshot {
		return p.serveSnapshot(ctx, h.node, s, stream, reader)
	}
	return p.serveRaft(&h, s, stream, reader)
}

// refuse tells a dialler why, and gives it a moment to read that.
func (p *Peers) refuse(s relay.Session, stream relay.Stream, why error) error {
	p.counters.refused.Add(1)
	if p.refusals.tell(why.Error()) {
		p.cfg.Log.Warn("refused a node", "addr", s.Peer().Addr, "error", why)
	}
	_, _ = stream.Write(appendRefusal(nil, typeRefuse, why))
	_ = stream.Close()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-s.Context().Done():
	case <-timer.C:
	}
	return why
}

// serveRaft takes messages and echoes beats until the connection ends.
func (p *Peers) serveRaft(h *hello, s relay.Session, stream relay.Stream, reader *frameReader) error {
	p.mu.Lock()
	n := p.nodeLocked(h.node)
	older := n.incoming
	n.incoming = s
	p.mu.Unlock()
	if older != nil {
		older.Close(relay.Cancelled, "the node dialled again")
	}
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if n.incoming == s {
			n.incoming = nil
		}
	}()
	n.version.Store(h.version)
	p.cfg.Shown(n.name, h.incarnations)
	// It is heard of with its first frame: the dialler may yet refuse what Welcome says.

	silence := p.silence(s)
	defer silence.Stop()
	var wg sync.WaitGroup
	wg.Go(func() { n.fail(s, n.receiveBulk(s)) })
	echo := func(number uint64) error {
		b := appendBeat(nil, typeEcho, number, p.cfg.Version)
		_, err := stream.Write(b)
		p.counters.sent[Urgent].add(1, len(b))
		return err
	}
	n.fail(s, n.receive(reader, Urgent, echo, func() { silence.Reset(p.cfg.SilentAfter) }))
	wg.Wait()
	err := context.Cause(s.Context())
	p.cfg.Log.Debug("connection of node ended", "node", n.name, "error", err)
	return err
}

// receiveBulk takes what comes on the stream for bulk. There is only one, so that it cannot take
// the whole connection's window from what is urgent.
func (n *node) receiveBulk(s relay.Session) error {
	stream, err := s.AcceptUni(s.Context())
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if _, err := s.AcceptUni(s.Context()); err == nil {
			n.fail(s, errors.New("a second stream for bulk"))
		}
	})
	err = n.receive(newFrameReader(stream), Bulk, nil, func() {})
	n.fail(s, err)
	return err
}

// receiveBatch is how many messages are handed over at once.
const receiveBatch = 256

// receive hands messages over as they come. What comes together is handed over together.
func (n *node) receive(r *frameReader, kind int, echo func(number uint64) error, alive func()) error {
	var list []shard.Message
	for {
		t, b, err := r.next()
		if err == io.EOF {
			return errors.New("the dialler closed its stream")
		}
		if err != nil {
			return err
		}
		alive()
		n.hear()
		n.p.counters.received[kind].add(1, len(b))
		switch {
		case t == typeMessage:
			m, err := decodeMessage(b)
			if err != nil {
				return err
			}
			list = append(list, m)
		case t == typeUnwell && echo != nil:
			n.unwell.Store(int64(time.Since(n.p.start)))
		case t == typeBeat && echo != nil:
			number, version, err := decodeBeat(b)
			if err != nil {
				return err
			}
			n.version.Store(version)
			if err := echo(number); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: %#x out of place", ErrUnsupported, t)
		}
		if len(list) > 0 && (!r.whole() || len(list) >= receiveBatch) {
			n.p.cfg.Receive(n.name, list)
			list = nil
			alive()
		}
	}
}
