// Package transport owns relay.Session on its three carriers: WebTransport over HTTP/3, WebSocket
// over HTTP/1.1, and QUIC with mutual TLS; and the port on which the first two are served beside
// plain HTTP.
//
// # Addresses
//
//	WebTransport  https://HOST/v1/session, an extended CONNECT
//	WebSocket     wss://HOST/v1/session, subprotocol "meridian.v1"
//	QUIC          ALPN "meridian/1"; a fleet's own others are their owner's affair
//
// # Codes
//
// A relay.Code travels as
//
//	WebTransport  the session's and the streams' application error code
//	WebSocket     close status 4000 + code; "reset" and "stop" messages, below
//	QUIC          the connection's and the streams' application error code
//
// and, where a connection ends before its WebTransport session exists or its close capsule is
// lost, as the connection's application error code 0x4d520000 + code, which no HTTP/3 error has.
//
// # The stream of a WebSocket
//
// A WebSocket carries one bidirectional stream, opened by the client and open from the start;
// there are no unidirectional streams and no datagrams. The stream's bytes are those of the
// binary messages, in order; the boundaries of messages mean nothing. Text messages speak about
// the sender's half or ask for the receiver's:
//
//	""         FIN: the sender's half ends here
//	"reset N"  the sender's half is reset with code N
//	"stop N"   the sender reads no more: the receiver should end its half with code N
//
// Binary messages after FIN or reset, and any other text, end the session with `protocol`. Both
// halves may be over while the session lives on: only a close frame ends it. A code is a decimal
// number of 0 to 999.
package transport
