// Package wan is a simulated wide-area network: named places, and between each two of them a way
// whose delay, jitter, loss, reordering, duplication, corruption, bandwidth, MTU and cuts change
// while it runs.
//
// A [Network] joins places. In one process a [Place] gives a net.PacketConn for QUIC and a dialer
// and a listener for TCP; all of it takes its time from package time alone, so that it runs in
// virtual time too (testing/synctest). Between separate processes a [Path] is a proxy on loopback,
// for UDP and TCP; [Open] opens one that stands alone, [Network.Open] one between two places.
//
// Everything is bounded, in bytes; what a full queue does to UDP and to TCP is said where its
// bound is set. Chances come from a seed.
package wan
