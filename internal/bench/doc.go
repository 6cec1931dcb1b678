// Package bench measures a relay against a baseline from the same run: server and clients are
// processes of their own, and pairs of runs are interleaved, because absolute times mislead on
// a machine that others use too.
package bench
