//go:build !race

package hub

const many = 100_000
