// Package load is the client side of the benchmarks: thousands of sessions over one UDP
// socket, as cheap for a Meridian as for the baseline.
package load
