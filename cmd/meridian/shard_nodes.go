package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/internal/config"
)

// askWithin is the longest that a node may take for one question.
const askWithin = 5 * time.Second

// nodes are the ops listeners that a command asks.
type nodes struct {
	app  *app
	urls []string
	all  []*nodeapi.Client
}

// nodesFlags adds the flags that say which nodes a command asks.
func (a *app) nodesFlags(cmd *cobra.Command) *nodes {
	n := &nodes{app: a}
	f := cmd.Flags()
	f.StringArrayVar(&n.urls, "node", nil, "a node's ops listener, http://HOST:PORT; may repeat; default: MERIDIAN_NODES, or the nodes of the context")
	f.StringVar(&a.context, "context", "", "the context to use; default: MERIDIAN_CONTEXT, or the selected one")
	return n
}

// open finds the nodes.
func (n *nodes) open() error {
	urls, from := n.urls, "--node"
	if env := n.app.getenv("NODES"); len(urls) == 0 && env != "" {
		urls, from = strings.Split(env, ","), config.EnvPrefix+"NODES"
	}
	if len(urls) == 0 {
		contexts, err := n.app.contexts()
		if err != nil {
			return err
		}
		name := n.app.context
		if name == "" {
			name = n.app.getenv("CONTEXT")
		}
		x, err := contexts.Get(name)
		if err != nil {
			return err
		}
		if len(x.Nodes) == 0 {
			return fmt.Errorf("context %q names no nodes; use --node http://HOST:PORT, the ops listener of a node", x.Name)
		}
		urls, from = x.Nodes, fmt.Sprintf("context %q", x.Name)
	}
	for _, u := range urls {
		c, err := nodeapi.NewClient(strings.TrimSpace(u), nil)
		if err != nil {
			return usageError{fmt.Errorf("%s: %w", from, err)}
		}
		n.all = append(n.all, c)
	}
	return nil
}

// errNoNode is returned when none of the nodes answered.
var errNoNode = errors.New("no node answers; start one, or name another with --node")

// ask asks every node at once. It says on stderr which do not answer; an error if none does, and
// a node's refusal if all that answered refused. A nil T is what a node did not answer.
func ask[T any](ctx context.Context, n *nodes, question func(context.Context, *nodeapi.Client) (T, error)) ([]*T, error) {
	answers := make([]*T, len(n.all))
	errs := make([]error, len(n.all))
	var group sync.WaitGroup
	for i, c := range n.all {
		group.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, askWithin, fmt.Errorf("no answer within %v", askWithin))
			defer cancel()
			answer, err := question(ctx, c)
			if errs[i] = err; err == nil {
				answers[i] = &answer
			}
		})
	}
	group.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	answered := 0
	var refusal error
	for i, err := range errs {
		var problem *nodeapi.Problem
		switch {
		case err == nil:
			answered++
		case errors.As(err, &problem):
			if refusal == nil || knows(err) > knows(refusal) {
				refusal = err
			}
		default:
			fmt.Fprintf(n.app.err, "node %s does not answer: %v\n", n.all[i].URL(), err)
		}
	}
	switch {
	case answered > 0:
		return answers, nil
	case refusal != nil:
		return nil, refusal
	}
	return nil, errNoNode
}

// knows ranks refusals by how much who refuses knows: who has no replica, who does not lead, who
// does.
func knows(err error) int {
	switch {
	case errors.Is(err, nodeapi.ErrNotFound):
		return 0
	case errors.Is(err, nodeapi.ErrNotLeader):
		return 1
	}
	return 2
}

// isConflict and isUnhealthy tell what a node's refusal means for the exit code.
func isConflict(err error) bool {
	return errors.Is(err, nodeapi.ErrConflict) || errors.Is(err, nodeapi.ErrNotLeader)
}

func isUnhealthy(err error) bool {
	if errors.Is(err, nodeapi.ErrUnavailable) || errors.Is(err, errNoNode) {
		return true
	}
	var p *nodeapi.Problem
	return errors.As(err, &p) && p.Status == http.StatusInternalServerError
}
