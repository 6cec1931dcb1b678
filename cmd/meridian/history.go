package main

import (
	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/relay"
)

func newHistory(a *app) *cobra.Command {
	var from string
	var limit uint64
	cmd := &cobra.Command{
		Use:   "history CHANNEL",
		Short: "Print the messages that a channel keeps",
		Args:  needsOneChannel,
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "start", "where to begin: start, last:N, since:10m, or EPOCH:SEQ (after that position)")
	f.Uint64Var(&limit, "limit", 0, "print at most so many; 0: all there are")
	output := outputFlag(f)
	a.targetFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if _, err := relay.ParseChannel(args[0]); err != nil {
			return usageError{err}
		}
		start, err := parseFrom(from)
		if err != nil {
			return err
		}
		if start.Kind == relay.StartLive {
			return usagef("--from live: history is what was; use meridian sub for what comes")
		}
		conn, err := a.dial(cmd.Context(), "history")
		if err != nil {
			return err
		}
		defer conn.Close(cmd.Context())
		defer a.reportLosses(cmd.Context(), conn)()
		overdue := a.overdue(relay.Channel(args[0]))
		defer overdue.Stop()
		p := newPrinter(a, *output, false, 0)
		for m, err := range conn.History(cmd.Context(), relay.Channel(args[0]), start, limit) {
			overdue.Stop()
			if err != nil {
				_ = p.close()
				return err
			}
			if err := p.message(m); err != nil {
				return err
			}
		}
		return p.close()
	}
	return cmd
}
