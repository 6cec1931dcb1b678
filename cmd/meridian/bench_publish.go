package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/bench"
)

// newBenchPublish returns bench publish: a group of figures with flags of its own.
func newBenchPublish(a *app) *cobra.Command {
	var c bench.Config
	cmd := newBenchFigures(a, "publish", "Durable homes: publishes, history, restarts, bytes on disk", &c, `Every node is a process of its own, with its folder on the disk that --dir names, and answers after
an fsync. Publishers drive a node through its Upstream (--via node), in its process, or through
sessions from another one (--via session). The baselines run on the same disk, in turn: a bare loop
of fdatasync, a bare QUIC stream. The figures that take long run once.`)
	f := cmd.Flags()
	f.StringVar(&c.Dir, "dir", "", "folder for data, on the disk to measure (default the system's for temporary files)")
	f.StringVar(&c.Via, "via", "", "only figures through a node's Upstream (node), or through sessions (session)")
	f.IntVar(&c.Unanswered, "unanswered", 0, "publishes that each of many publishers has on the way (default 16)")
	f.BoolVar(&c.NoBase, "no-base", false, "leave the baselines out")
	return cmd
}
