package wire

import "fmt"

// A Type says what a frame is. Even: a reader that does not know it must end the session.
// Odd: it may skip it.
type Type uint64

// The frames that go up, toward a channel's home.
const (
	TypeHello     Type = 0x02
	TypePublish   Type = 0x04
	TypeSubscribe Type = 0x06
	TypeCredit    Type = 0x08
	TypeCancel    Type = 0x0a
	TypeRefresh   Type = 0x0c
	TypePing      Type = 0x0e
)

// The frames that come down.
const (
	TypeWelcome Type = 0x20
	TypeOK      Type = 0x22
	TypeEnd     Type = 0x24
	TypeMessage Type = 0x26
	TypeGap     Type = 0x28
	TypeStatus  Type = 0x2b
	TypePong    Type = 0x2c
	TypeGoAway  Type = 0x2f
)

// Bounds of a frame. A longer one ends the session, but for a Publish of up to MaxSkip bytes,
// which is passed over and refused by itself.
const (
	MaxRef       = 1<<53 - 1
	MaxPayload   = 1 << 20 // the most that a namespace can allow
	MaxKey       = 256
	MaxHeaders   = 4 << 10 // all of a message but payload and key, as encoded
	MaxSubject   = 256
	MaxToken     = 16 << 10
	MaxMessage   = MaxPayload + MaxKey + MaxHeaders + 1<<10
	MaxSkip      = 16 << 20
	MaxDatagram  = 1100 // a longer message takes its stream
	MaxHeaderLen = 30   // three varints of at most ten bytes
)

// bounds holds the longest body of every type, in bytes; 0: no such type.
var bounds = [0x40]int{
	TypeHello:     32 << 10,
	TypePublish:   MaxMessage + 1<<10,
	TypeSubscribe: 2 << 10,
	TypeCredit:    64,
	TypeCancel:    64,
	TypeRefresh:   32 << 10,
	TypePing:      64,
	TypeWelcome:   8 << 10,
	TypeOK:        256,
	TypeEnd:       8 << 10,
	TypeMessage:   MaxMessage + 32,
	TypeGap:       256,
	TypeStatus:    64,
	TypePong:      64,
	TypeGoAway:    8 << 10,
}

// maxUnknown is the longest body of an unknown frame that is skipped, in bytes.
const maxUnknown = 64 << 10

// Known reports whether this version defines t.
func (t Type) Known() bool { return t < Type(len(bounds)) && bounds[t] != 0 }

// MustKnow reports whether a reader that does not know t must end the session.
func (t Type) MustKnow() bool { return t%2 == 0 }

// Bound returns the longest body that a frame of type t may have, in bytes.
func (t Type) Bound() int {
	if t.Known() {
		return bounds[t]
	}
	return maxUnknown
}

var typeNames = map[Type]string{
	TypeHello: "Hello", TypePublish: "Publish", TypeSubscribe: "Subscribe", TypeCredit: "Credit",
	TypeCancel: "Cancel", TypeRefresh: "Refresh", TypePing: "Ping", TypeWelcome: "Welcome",
	TypeOK: "OK", TypeEnd: "End", TypeMessage: "Message", TypeGap: "Gap", TypeStatus: "Status",
	TypePong: "Pong", TypeGoAway: "GoAway",
}

func (t Type) String() string {
	if n, ok := typeNames[t]; ok {
		return n
	}
	return fmt.Sprintf("type %#x", uint64(t))
}
