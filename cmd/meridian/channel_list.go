package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/relay"
)

// channelPage is how many channels a node is asked for at once.
const channelPage = 1000

func newChannelList(a *app) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list [PREFIX]", Aliases: []string{"ls"}, Short: "List the channels whose names begin so, in order", Args: cobra.MaximumNArgs(1),
		Example: `  meridian channel list demo: --limit 20`,
	}
	cmd.Flags().IntVar(&limit, "limit", 0, "list at most so many; 0: all")
	output := outputFlag(cmd.Flags())
	n := a.nodesFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 0 {
			return usagef("--limit %d: write a whole number from 0 on", limit)
		}
		if err := n.open(); err != nil {
			return err
		}
		t := newTable(a.out, *output, channelColumns...)
		if err := n.channels(cmd.Context(), strings.Join(args, ""), limit, t); err != nil {
			return err
		}
		return t.flush()
	}
	return cmd
}

// A shelf is what a node has listed and is not printed yet.
type shelf struct {
	client *nodeapi.Client
	list   []nodeapi.Channel
	next   relay.Channel // of the following page
	more   bool
}

// channels merges the nodes' lists, page by page: each of them is in order of the names.
func (n *nodes) channels(ctx context.Context, prefix string, limit int, t *table) error {
	shelves := make([]*shelf, len(n.all))
	for i, c := range n.all {
		shelves[i] = &shelf{client: c, more: true}
	}
	answered := false
	for printed := 0; limit == 0 || printed < limit; printed++ {
		size := channelPage
		if limit > 0 {
			size = min(size, limit-printed)
		}
		for _, s := range shelves {
			if len(s.list) > 0 || !s.more {
				continue
			}
			err := s.fill(ctx, prefix, size)
			switch {
			case err == nil:
				answered = true
			case ctx.Err() != nil:
				return context.Cause(ctx)
			default:
				s.more = false
				fmt.Fprintf(n.app.err, "node %s does not answer: %v\n", s.client.URL(), err)
			}
		}
		if !answered {
			return errNoNode
		}
		best := first(shelves)
		if best == nil {
			return nil
		}
		if t.row(best, channelCells(best)...); t.err != nil {
			return t.err
		}
	}
	return nil
}

// fill asks for the next page.
func (s *shelf) fill(ctx context.Context, prefix string, size int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askWithin, fmt.Errorf("no answer within %v", askWithin))
	defer cancel()
	list, next, err := s.client.Channels(ctx, prefix, s.next, size)
	if err == nil && next != "" && next <= s.next {
		err = errors.New("its list does not come to an end")
	}
	if err != nil {
		return err
	}
	s.list, s.next, s.more = list, next, next != ""
	return nil
}

// first takes the first channel off all shelves and returns what is known best of it; nil: none
// is left.
func first(shelves []*shelf) *nodeapi.Channel {
	var name relay.Channel
	for _, s := range shelves {
		if len(s.list) > 0 && (name == "" || s.list[0].Channel < name) {
			name = s.list[0].Channel
		}
	}
	var best *nodeapi.Channel
	for _, s := range shelves {
		if len(s.list) > 0 && s.list[0].Channel == name {
			if c := &s.list[0]; best == nil || better(c, best) {
				best = c
			}
			s.list = s.list[1:]
		}
	}
	return best
}
