// Package client is Meridian's Go SDK: one session to a nearby edge that outlives its
// connections, subscriptions that resume where they were, and publishes that take effect once,
// in order.
package client
