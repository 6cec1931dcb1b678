// Package hub makes any Upstream a shared one: one upstream subscription per channel, a ring of
// recent messages, and a cursor, not a queue, for every local subscriber.
//
// A topic is what the hub keeps of one channel. Everything that talks to the upstream happens in
// a topic's turn, which one worker runs at a time; everything that subscribers touch is guarded
// by the topic's mutex, which is never held across a call to anybody else. What a turn does is
// bounded; what is left makes the topic runnable again.
//
// Where a cursor can be:
//
//	starting   the upstream's OK is not there yet, or a barrier's answer
//	in ring    the next entry is in the ring of recent messages
//	on a feed  the next entry is older: a catch-up feed, an upstream subscription with a small
//	           ring of its own, is pulled as far as its foremost cursor needs
//	waiting    as many feeds as allowed are open; first come, first served
//
// A cursor that falls out of a ring keeps its position and nothing else, and goes to a feed when
// it next asks. It returns to the ring as soon as the ring covers its position.
//
// Bounds and what happens past them: a ring drops its oldest chunk; all rings together drop the
// oldest chunk of the least recently used topic; feeds are counted, per topic and in total, and
// subscribers wait for one; topics are counted, and a subscription to one more is refused with
// busy. A chunk that a subscriber still holds lent counts until it is given back, so slow
// subscribers shrink the rings, not the process's memory: a subscription holds the chunks of one
// Next at most.
package hub
