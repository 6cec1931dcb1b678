// Package store keeps logs and states of a node's replicas in Pebble.
package store

import _ "github.com/cockroachdb/pebble/v2" // until the code that uses it
