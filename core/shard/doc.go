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
//	00 01   the Descriptor
//	00 02   the Place of the last entry applied
//
// Values begin with their version, 1.
package shard
