// Package edge is the relay process near users: it admits sessions and HTTP requests, holds them
// to their limits, and leads them toward their channels' homes.
package edge
