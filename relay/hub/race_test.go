//go:build race

package hub

// many is fewer where the race detector makes each ten times as slow.
const many = 10_000
