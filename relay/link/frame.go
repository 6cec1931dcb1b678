package link

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/meridian-relay/meridian/relay"
	"github.com/meridian-relay/meridian/relay/wire"
)

const (
	maxDetail       = 512 // bytes of an End's detail
	maxAlternatives = 16
	maxAlternative  = 256 // bytes
)

// isLast reports whether nothing follows fr.
func isLast(fr *relay.Frame) bool {
	return fr.Kind == relay.KindEnd && fr.End.Deadline == 0
}

// appendFrame appends a subscription's frame that is not a message. at is the position of the
// last message sent.
func appendFrame(b []byte, ref uint64, fr *relay.Frame, at relay.Position) []byte {
	switch fr.Kind {
	case relay.KindOK:
		return wire.AppendOK(b, ref, uint64(fr.At.Epoch), uint64(fr.At.Seq),
			uint64(fr.Next.Epoch), uint64(fr.Next.Seq))
	case relay.KindGap:
		return wire.AppendProto(b, wire.TypeGap, ref, &wire.Gap{
			AfterEpoch: uint64(fr.At.Epoch), AfterSeq: uint64(fr.At.Seq),
			NextEpoch: uint64(fr.Next.Epoch), NextSeq: uint64(fr.Next.Seq),
			Reason: wire.GapReason(fr.Reason),
		})
	case relay.KindStatus:
		return wire.AppendProto(b, wire.TypeStatus, ref, &wire.Status{State: wire.State(fr.State)})
	case relay.KindEnd:
		return appendEnd(b, ref, *fr.End, at)
	}
	panic(fmt.Sprintf("link: frame of kind %d from an upstream", fr.Kind))
}

// appendEnd appends an End frame.
func appendEnd(b []byte, ref uint64, e relay.End, at relay.Position) []byte {
	m := &wire.End{
		Code:         uint32(e.Code),
		RetryAfterMs: millis(e.RetryAfter),
		DeadlineMs:   millis(e.Deadline),
		Detail:       e.Detail,
		Epoch:        uint64(at.Epoch),
		Seq:          uint64(at.Seq),
	}
	if len(m.Detail) > maxDetail {
		m.Detail = validPrefix(m.Detail, maxDetail)
	}
	if e.Hint.Shard != "" || len(e.Hint.Alternatives) > 0 {
		m.Hint = &wire.Hint{Shard: e.Hint.Shard, Alternatives: clipAlternatives(e.Hint.Alternatives)}
	}
	return wire.AppendProto(b, wire.TypeEnd, ref, m)
}

// clipAlternatives keeps what an End or a GoAway has room for: 16 of at most 256 bytes.
func clipAlternatives(list []string) []string {
	kept := make([]string, 0, min(len(list), maxAlternatives))
	for _, a := range list {
		if len(a) <= maxAlternative && len(kept) < maxAlternatives {
			kept = append(kept, a)
		}
	}
	return kept
}

// validPrefix cuts s to at most n bytes, at a rune's start.
func validPrefix(s string, n int) string {
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func millis(d time.Duration) uint64 { return uint64(max(d.Milliseconds(), 0)) }

// duration is millis' inverse, bounded to a day.
func duration(ms uint64) time.Duration {
	return time.Duration(min(ms, 86_400_000)) * time.Millisecond
}

// parseEnd reads an End body.
func parseEnd(body []byte) (relay.End, relay.Position, error) {
	var m wire.End
	if err := proto.Unmarshal(body, &m); err != nil {
		return relay.End{}, relay.Position{}, fmt.Errorf("%w: End: %v", wire.ErrMalformed, err)
	}
	if max(m.Epoch, m.Seq) > relay.MaxNumber {
		return relay.End{}, relay.Position{}, fmt.Errorf("%w: End: a position is not below 2^53", wire.ErrMalformed)
	}
	e := relay.End{
		Code:       relay.Code(min(m.GetCode(), 999)),
		RetryAfter: duration(m.GetRetryAfterMs()),
		Deadline:   duration(m.GetDeadlineMs()),
		Detail:     m.GetDetail(),
	}
	if h := m.GetHint(); h != nil {
		e.Hint = relay.Hint{Shard: h.GetShard(), Alternatives: h.GetAlternatives()}
	}
	return e, position(m.GetEpoch(), m.GetSeq()), nil
}

func position(epoch, seq uint64) relay.Position {
	return relay.Position{Epoch: relay.Epoch(epoch), Seq: relay.Seq(seq)}
}

// parseFrame reads the body of a subscription's frame; a message's Body is a part of it.
func parseFrame(f wire.Frame) (relay.Frame, error) {
	switch f.Type {
	case wire.TypeMessage:
		epoch, seq, body, err := wire.ScanPosition(f.Body)
		return relay.Frame{Kind: relay.KindMessage, At: position(epoch, seq), Body: body}, err
	case wire.TypeOK:
		var m wire.OK
		if err := unmarshal(f, &m); err != nil {
			return relay.Frame{}, err
		}
		if max(m.Epoch, m.Seq, m.HeadEpoch, m.HeadSeq) > relay.MaxNumber {
			return relay.Frame{}, fmt.Errorf("%w: OK: a position is not below 2^53", wire.ErrMalformed)
		}
		return relay.Frame{Kind: relay.KindOK, At: position(m.Epoch, m.Seq), Next: position(m.HeadEpoch, m.HeadSeq)}, nil
	case wire.TypeGap:
		var m wire.Gap
		if err := unmarshal(f, &m); err != nil {
			return relay.Frame{}, err
		}
		if max(m.AfterEpoch, m.AfterSeq, m.NextEpoch, m.NextSeq) > relay.MaxNumber {
			return relay.Frame{}, fmt.Errorf("%w: Gap: a position is not below 2^53", wire.ErrMalformed)
		}
		return relay.Frame{
			Kind: relay.KindGap, At: position(m.AfterEpoch, m.AfterSeq),
			Next: position(m.NextEpoch, m.NextSeq), Reason: relay.GapReason(m.Reason),
		}, nil
	case wire.TypeStatus:
		var m wire.Status
		if err := unmarshal(f, &m); err != nil {
			return relay.Frame{}, err
		}
		return relay.Frame{Kind: relay.KindStatus, State: relay.State(m.State)}, nil
	case wire.TypeEnd:
		e, at, err := parseEnd(f.Body)
		return relay.Frame{Kind: relay.KindEnd, At: at, End: &e}, err
	}
	return relay.Frame{}, fmt.Errorf("%w: %v out of place", wire.ErrMalformed, f.Type)
}

func unmarshal(f wire.Frame, m proto.Message) error {
	if err := proto.Unmarshal(f.Body, m); err != nil {
		return fmt.Errorf("%w: %v: %v", wire.ErrMalformed, f.Type, err)
	}
	return nil
}
