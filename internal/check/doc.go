// Package check judges what publishers and subscribers went through: their logs and the drained
// replicas' histories in, the promises that were broken out. It shares no code with what it judges.
//
// # Logs
//
// A log is lines of JSON, one object each. The first names the format, the log, and its clock:
//
//	{"kind":"log","v":1,"name":"publisher 3","clock":"7f3a…"}
//
// Every other has "kind" and "t", nanoseconds since 1970 by a clock that never steps. Times of
// logs with the same clock compare exactly, others only beyond Config.Skew. Positions are
// "EPOCH:SEQ", a digest is 16 hexadecimal digits (Digest), and what is zero may be left out.
//
// A publisher's log has an op for every attempt, or, for a client that repeats by itself, for
// every call. The same producer and n, in whatever log, is the same publish; without a producer
// every op is one of its own. Payloads should be unique in their channel, else less can be told.
//
//	publish    op channel producer n digest void    an attempt begins
//	answer     op code at                           it ended; without an answer all is open
//
// A subscriber's log has a sub for every subscription, and its frames in order. Where a client
// resumes by itself it goes on under the same sub, with one more ok.
//
//	subscribe  sub channel from mode limit barrier  from: live, after, last, since or first;
//	           after                                where from is after: the position
//	ok         sub at head                          it stands; every message after at follows
//	message    sub at digest
//	gap        sub after next reason
//	status     sub state
//	end        sub code
//	drained    sub                                  it was waited for what was acknowledged before
//
// A replica's history, after it was drained, is a subscription from the first message to the end:
//
//	replica    sub channel replica                  replica: a name for it
//
// An answer's code says what it means. With done, the message stands at the position. With
// unknown, unavailable, internal, going_away, link_lost, too_old, cancelled and what ends a session
// it is open: the message may appear once or never. With any other the attempt has no effect. Who
// records a client's calls writes unknown where the client says that the outcome is.
//
// The last line may be cut off, by a process that was killed: it is left out.
package check
