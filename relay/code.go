package relay

import "fmt"

// A Code says how a request, a stream or a session ended. The list is closed and only grows;
// numbers are 1 to 999 on every carrier (WebSocket adds 4000). 0 is done.
type Code uint16

// The codes. docs/protocol.md explains each.
const (
	Done Code = 0

	// The protocol.
	Protocol    Code = 10 // bytes that are not the protocol, or out of place
	Unsupported Code = 11 // a version, or a frame that must be known
	BadRequest  Code = 12 // a well-formed frame that asks for something impossible
	TooLarge    Code = 13 // a frame, payload, key or header beyond its limit
	BadChannel  Code = 14 // not a channel's name

	// Who may.
	Unauthorized  Code = 20 // the token is missing, not valid, or not for this relay
	TokenExpired  Code = 21
	Forbidden     Code = 22 // the token does not allow this
	Revoked       Code = 23 // an operator withdrew the token or the session
	OriginRefused Code = 24 // the page's origin is not on the list
	HelloTimeout  Code = 25 // no valid Hello in time

	// The home.
	UnknownNamespace Code = 30
	Moved            Code = 31 // the hint names the shard
	Unavailable      Code = 32 // the home cannot be reached, or has no quorum
	ReadOnly         Code = 33 // the home accepts no publishes for now

	// Publishing.
	OutOfOrder Code = 40 // not the producer's next number: go back to it
	TooOld     Code = 41 // the outcome can no longer be known
	Conflict   Code = 42 // the number was used for another payload
	Unknown    Code = 43 // the way was lost: the outcome is open, repeat it
	Voided     Code = 44 // the number was used up without a message

	// Limits.
	Busy                 Code = 50 // a queue or table is full
	PublishRate          Code = 51 // messages per second
	ByteRate             Code = 52 // bytes per second
	TooManySubscriptions Code = 53
	TooManySessions      Code = 54
	TooManyConnections   Code = 55
	SlowReader           Code = 56 // a stream accepted nothing for 30 s
	RequestRate          Code = 57 // frames per second

	// Life.
	GoingAway Code = 60 // the process is draining
	Cancelled Code = 61 // by the asker
	LinkLost  Code = 62 // the session under a subscription ended
	Internal  Code = 63 // a fault of ours
)

// A Retry says whether and when a request that ended so can be repeated.
type Retry uint8

const (
	// Final: repeating it unchanged ends the same way.
	Final Retry = iota
	// Again: at once, for a publish with the same number.
	Again
	// Later: after RetryAfter, or a second, with jitter.
	Later
	// AfterToken: with a new token.
	AfterToken
	// Elsewhere: on another session or at the hint.
	Elsewhere
)

func (r Retry) String() string {
	return [...]string{"final", "again", "later", "after token", "elsewhere"}[r]
}

type codeInfo struct {
	code  Code
	name  string
	retry Retry
}

var codes = []codeInfo{
	{Done, "done", Final},
	{Protocol, "protocol", Final},
	{Unsupported, "unsupported", Final},
	{BadRequest, "bad_request", Final},
	{TooLarge, "too_large", Final},
	{BadChannel, "bad_channel", Final},
	{Unauthorized, "unauthorized", AfterToken},
	{TokenExpired, "token_expired", AfterToken},
	{Forbidden, "forbidden", Final},
	{Revoked, "revoked", Final},
	{OriginRefused, "origin_refused", Final},
	{HelloTimeout, "hello_timeout", Later},
	{UnknownNamespace, "unknown_namespace", Final},
	{Moved, "moved", Elsewhere},
	{Unavailable, "unavailable", Later},
	{ReadOnly, "read_only", Later},
	{OutOfOrder, "out_of_order", Again},
	{TooOld, "too_old", Final},
	{Conflict, "conflict", Final},
	{Unknown, "unknown", Again},
	{Voided, "voided", Final},
	{Busy, "busy", Later},
	{PublishRate, "publish_rate", Later},
	{ByteRate, "byte_rate", Later},
	{TooManySubscriptions, "too_many_subscriptions", Final},
	{TooManySessions, "too_many_sessions", Later},
	{TooManyConnections, "too_many_connections", Later},
	{SlowReader, "slow_reader", Later},
	{RequestRate, "request_rate", Later},
	{GoingAway, "going_away", Elsewhere},
	{Cancelled, "cancelled", Final},
	{LinkLost, "link_lost", Elsewhere},
	{Internal, "internal", Later},
}

var codeByNumber = func() map[Code]codeInfo {
	m := make(map[Code]codeInfo, len(codes))
	for _, c := range codes {
		m[c.code] = c
	}
	return m
}()

// Codes returns every code, in the order of its number.
func Codes() []Code {
	list := make([]Code, len(codes))
	for i, c := range codes {
		list[i] = c.code
	}
	return list
}

// Retry returns the code's retry rule. An unknown code, from a newer peer, is Later.
func (c Code) Retry() Retry {
	if info, ok := codeByNumber[c]; ok {
		return info.retry
	}
	return Later
}

// String returns the code's name.
func (c Code) String() string {
	if info, ok := codeByNumber[c]; ok {
		return info.name
	}
	return fmt.Sprintf("code %d", uint16(c))
}
