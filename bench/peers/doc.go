// Command peers measures what a peer does with the work that `meridian bench publish` has: NATS
// JetStream, embedded, with file storage that syncs before it answers, beside Meridian in the same
// run. It is a module of its own, so that Meridian depends on no peer.
package main
