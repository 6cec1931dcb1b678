// Package link carries the seam over a session: Server exposes an Upstream to the peer, Link is
// an Upstream that the peer exposes, and Links spreads channels over several.
//
// Every stream has one lane that writes it: control frames first, then the subscriptions on it
// by deficit round robin; what waits leaves together, in writes of up to 16 KiB. A lane has a
// goroutine only while something waits, so a session at rest has none that writes.
package link
