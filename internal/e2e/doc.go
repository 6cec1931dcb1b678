// Package e2e tests the built binary from outside, as a user runs it: processes, a network that
// fails, a browser.
package e2e
