// Package fleet assembles the processes of a deployment: one edge with what stands behind it,
// and a whole world in one process, for `meridian dev` and for tests.
package fleet
