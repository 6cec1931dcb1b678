// Package shard is a Raft group around the channel machine, and the Host that runs all groups of
// a node: a machine without I/O, clock, goroutines or locks, that is told events and returns
// work.
//
// # The way of a publish
//
// Host.Publish puts it with others into one entry; Host.Take hands out a Write (to this node's
// log) and messages (to the others'). When the write is durable, Host.Written tells raft; when a
// quorum's is, Take hands out an Apply. Machine.Run runs it on the state, the caller commits,
// Apply.Answer answers those who wait, and Host.Applied tells raft. Whoever calls all this does
// the I/O between the steps: goroutines in a node, a seeded schedule in the simulation.
//
// # Log and state
//
// What is durable is the log. A state is committed without a sync, flushed when it has grown, and
// after a crash stands where its last flush was: the entries behind that are applied again. So a
// payload is synced once. The log keeps entries until every state that needs them is flushed,
// and until every member has them, or is too far behind.
//
// # Keys
//
// A replica's state is the keys of core/channel (first byte 01 and up), and the shard's own:
//
//	00 01   the Descriptor: shard, class, incarnation, version, next number, joint (0 or 1),
//	        number of members, and of each: number, role (1 byte), node, store (16 bytes);
//	        then, if an operator prefers one to lead, its number
//	00 02   the Place of the last entry applied: index (8 bytes), term (8 bytes)
//
// Values begin with their version, 1. Unless said otherwise, here and below, numbers are varints,
// and a string has its length before it; numbers of 8 bytes are big-endian.
//
// # Entries
//
// An entry of raft's own is empty, or changes the membership: its context is version 1, the
// proposal's id (8 bytes), and of new members: number, node, store (16 bytes). Others are version
// 1, the proposal's id (8 bytes), the leader's time in ms, and commands: kind (1 byte), length, body.
//
//	1  publish   channel, subject, flags (1 byte), with flag 1: producer (16 bytes), number,
//	             age in ms; then the body to the end. Flag 2: a void, without body
//	2  step      operation (1 byte; see channel.Op); channel, or for a sweep the namespace;
//	             for trim and compact: epoch, seq
//	3  expire    how many producers
//	4  policy    namespace, age in ns (signed), count, bytes, keyed (0 or 1), payload (signed),
//	             forget after in ns (signed)
//	5  limits    bytes of a subject's producers, a channel's, the shard's
//	6  slots     namespace, first, last, own (0 or 1), else who (0: not known)
//	7  pin       channel, own (0 or 1), else who (0: whose the slot is)
//	8  raise     floor, broken (0 or 1)
//	9  version   the shard's, from now on
//	10 prefer    the number of the member that is to lead; 0: none
//
// All need version 1 of the shard.
package shard
