// Package wire is the protocol's bytes: the frame's layout, its reader and writer, and the
// bodies that frames carry.
//
// A frame is
//
//	type varint | ref varint | length varint | body (length bytes)
//
// with varints of base 128, least significant group first, as in protobuf and
// encoding/binary. ref names the request that the frame belongs to; 0 names the session.
// Bodies are protobuf (wire.proto), but for
//
//	Message   epoch varint | seq varint | protobuf Message
//	Cancel, Ping, Pong   empty
//
// A datagram carries a message without type and length:
//
//	ref varint | epoch varint | seq varint | protobuf Message
//
// A reader ends the session at an unknown even type and skips an unknown odd one.
// docs/protocol.md is the specification; both change in one commit.
package wire
