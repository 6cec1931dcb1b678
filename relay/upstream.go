package relay

import (
	"errors"
	"time"
)

// ErrBusy is returned by Upstream.Publish when its queue is full: nothing was taken and answer
// is not called. Try again after the time that BusyRetry gives.
var ErrBusy = errors.New("busy: too much is unanswered; publish again shortly")

// ErrUnavailable is returned by Upstream.Publish when there is no way to the channel's home for
// now: nothing was taken and answer is not called.
var ErrUnavailable = errors.New("no link to the channel's home for now; publish again shortly")

// BusyRetry is how long to wait after ErrBusy or ErrUnavailable.
const BusyRetry = 100 * time.Millisecond

// Refusal returns the End that an error of Upstream.Publish stands for.
func Refusal(err error) End {
	code := Busy
	if errors.Is(err, ErrUnavailable) {
		code = Unavailable
	}
	return End{Code: code, RetryAfter: BusyRetry, Detail: err.Error()}
}

// AnswerWithin is the longest that a Publish stays without an answer.
const AnswerWithin = 30 * time.Second

// An Upstream leads toward a channel's home. Neither method waits. Safe for concurrent use.
type Upstream interface {
	// Publish keeps call order. Unless it returns an error, answer is called once, within
	// AnswerWithin, never from inside Publish; p.Body is lent until then. answer must not
	// block. An End with code Done means that the message stands at the position.
	Publish(p Publication, answer func(at Position, end End)) error
	// Subscribe opens a subscription; a refusal is its first frame. wake is called once when
	// the first frame is there, which may be before Subscribe returns, and once after each
	// Next that returned less than it was allowed, as soon as there is more. It must not block
	// and must not call Next or Close; it may come from inside the Upstream's own locks.
	Subscribe(r SubscribeRequest, wake func()) Subscription
}

// A Subscription is pulled. Calls are serial.
//
// The first frame is an OK or an End. Nothing follows an End without a Deadline. An End with
// one only announces: the subscription goes on, for that long, and a last End follows.
type Subscription interface {
	// Next appends frames until the lengths of their bodies add up to maxBytes or more (so
	// it may exceed maxBytes by a part of one message), or there are no more; what it appends
	// is lent until the next call of Next or Close.
	//
	// If the bodies add up to less than maxBytes, that was all: wake comes when there is more,
	// at once if there already is. If they reach maxBytes, no wake comes: call Next again.
	// After the last End no wake comes either. A wake too many does no harm.
	//
	// With maxBytes 0 it appends nothing and changes nothing but that nothing is lent any
	// more: who has copied the bodies lets go of them before waiting for long.
	Next(dst []Frame, maxBytes int) []Frame
	// Close ends the subscription and what is lent. wake may still come once.
	Close()
}

// A Publication is a message on its way to its home.
type Publication struct {
	Channel  Channel
	Subject  Subject
	Producer Producer // zero: repeating it makes a second message
	N        uint64   // from 1; 0 exactly when Producer is zero
	Void     bool     // use number N up; Body is empty
	Age      time.Duration
	Body     []byte // wire.Message without publisher and time
}

// A Start says where a subscription begins. The zero Start is live.
type Start struct {
	Kind  StartKind
	After Position      // StartAfter
	Count uint64        // StartLast
	Since time.Duration // StartSince: younger than this
}

// A StartKind is the kind of a Start. Its numbers are those of wire.Start.
type StartKind uint8

const (
	StartLive StartKind = iota
	StartAfter
	StartLast
	StartSince
	StartFirst
)

// A Mode says what a subscriber that falls behind gets. Its numbers are those of wire.Mode.
type Mode uint8

const (
	// Reliable: every message, in order.
	Reliable Mode = iota
	// Latest: the newest message, or the newest of each key. Skipped ones make no Gap.
	Latest
)

// A SubscribeRequest asks for a subscription.
type SubscribeRequest struct {
	Channel Channel
	Subject Subject
	From    Start
	Mode    Mode
	Limit   uint64 // end after so many messages, or at the head that OK named; 0: endless
	Barrier bool   // begin at or after every publish acknowledged before
}

// A Kind says what a Frame of a subscription is.
type Kind uint8

const (
	KindOK      Kind = iota + 1 // At: where the subscription begins; Next: the head
	KindMessage                 // At, Body
	KindGap                     // At: after; Next: what follows; Reason
	KindStatus                  // State
	KindEnd                     // End; At: the last message's position, if any
)

// A Frame is one step of a subscription.
type Frame struct {
	Kind   Kind
	Reason GapReason
	State  State
	At     Position
	Next   Position
	Body   []byte // wire.Message; shared and immutable
	End    *End
}

// A GapReason says why messages will not come. Its numbers are those of wire.GapReason.
type GapReason uint8

const (
	GapTrimmed   GapReason = iota + 1 // retention removed them
	GapCompacted                      // newer messages of the same keys replaced them
	GapEpoch                          // continuity was broken at the home
)

func (r GapReason) String() string {
	switch r {
	case GapTrimmed:
		return "trimmed"
	case GapCompacted:
		return "compacted"
	case GapEpoch:
		return "epoch"
	}
	return "unspecified"
}

// A State tells a subscriber how the way to the home stands. Its numbers are those of
// wire.State.
type State uint8

const (
	Lost State = iota + 1
	Restored
)

func (s State) String() string {
	switch s {
	case Lost:
		return "lost"
	case Restored:
		return "restored"
	}
	return "unspecified"
}

// An End closes a request.
type End struct {
	Code       Code
	RetryAfter time.Duration // 0: the code's own rule
	Deadline   time.Duration // announced: served for so long, open the successor first; 0: ended
	Detail     string        // for a person; at most 512 B
	Hint       Hint
}

// A Hint says where to go instead.
type Hint struct {
	Shard        string
	Alternatives []string
}

// Err returns the End as an error, nil if its code is Done.
func (e End) Err() error {
	if e.Code == Done {
		return nil
	}
	return &Error{e}
}

// An Error is an End that is not Done.
type Error struct{ End End }

func (e *Error) Error() string {
	s := e.End.Code.String()
	if e.End.Detail != "" {
		s += ": " + e.End.Detail
	}
	return s
}

// Is matches another *Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.End.Code == e.End.Code
}
