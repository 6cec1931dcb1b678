package core

import "github.com/meridian-relay/meridian/core/store"

// Disk reads the counters of the node's store.
func (n *Node) Disk() store.Metrics { return n.store.Metrics() }
