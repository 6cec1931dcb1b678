// Package relaytest holds the conformance suite of the seam, and a scripted Upstream for tests
// of what consumes one.
package relaytest
