package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
)

func newShardGet(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get SHARD", Short: "Show a shard's members, and how far each is", Args: cobra.ExactArgs(1),
		Example: `  meridian shard get s1`,
	}
	output := outputFlag(cmd.Flags())
	n := a.nodesFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		id, err := parseShard(args[0])
		if err != nil {
			return err
		}
		if err := n.open(); err != nil {
			return err
		}
		v, err := n.view(cmd.Context(), id)
		if err != nil {
			return err
		}
		return a.showShard(&v, *output)
	}
	return cmd
}

// showShard prints one shard.
func (a *app) showShard(v *shardView, f format) error {
	if f == jsonOut {
		l := newLines(a.out)
		if err := l.json(v); err != nil {
			return err
		}
		return l.flush()
	}
	best := &v.Replicas[0]
	if v.leader != nil {
		best = v.leader
	}
	head := newLines(a.out)
	lines := []string{
		fmt.Sprintf("%s  %s  leader %s, term %d, commit %d", v.Shard, v.Class, dashed(string(v.Leader)), v.Term, v.Commit),
	}
	if best.Prefer != "" {
		lines = append(lines, fmt.Sprintf("to be led by %s, as was asked for", best.Prefer))
	}
	for _, o := range best.Owns {
		line := fmt.Sprintf("owns %d slots of %s", o.Slots, o.Namespace)
		if o.Pins > 0 {
			line += fmt.Sprintf(", and %d pinned channels", o.Pins)
		}
		lines = append(lines, line)
	}
	for _, fault := range v.Faults {
		lines = append(lines, "fault: "+fault)
	}
	for _, line := range lines {
		if err := head.text(line); err != nil {
			return err
		}
	}
	if err := head.flush(); err != nil {
		return err
	}
	t := newTable(a.out, f, "NODE", "NUMBER", "ROLE", "STATE", "APPLIED", "STORED", "LAG", "LOG BYTES")
	for _, m := range v.members() {
		state, applied, logBytes := "no answer", "-", "-"
		if r := v.on(m.Node); r != nil && r.Number == m.Number {
			state, applied, logBytes = r.State, number(r.Applied), number(r.LogBytes)
			if r.Resting {
				state += ", at rest"
			}
		}
		stored, lag := "-", "-"
		if p := m.Progress; p != nil {
			stored, lag = number(p.Match), number(p.Lag)
			state += awaited(p)
		}
		t.row(nil, string(m.Node), number(m.Number), m.Role, state, applied, stored, lag, logBytes)
	}
	return t.flush()
}

// awaited says what a leader waits for.
func awaited(p *nodeapi.Progress) string {
	switch {
	case !p.Active:
		return ", not heard of"
	case p.Snapshot:
		return ", gets a snapshot"
	}
	return ""
}
