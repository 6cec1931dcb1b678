// Package core is a node's own channels behind the seam. Until homes are durable it is Bare: the
// channel machine alone, in memory.
package core
