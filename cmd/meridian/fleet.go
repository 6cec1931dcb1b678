package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
	"github.com/meridian-relay/meridian/internal/fleet"
)

// fleetContext is the context that fleet writes and selects; those of further edges have a number.
const fleetContext = "fleet"

func newFleet(a *app) *cobra.Command {
	var c fleet.LocalConfig
	cmd := &cobra.Command{
		Use:   "fleet",
		Short: "Run nodes and edges as processes of this machine, to try what they survive",
		Long: `Run nodes and edges as processes of this machine, with certificates and tokens of their own, on
loopback only. What they write has their name before it; Ctrl-C ends them all.

It writes and selects the context "fleet", so that pub, sub, history, shard and channel need no flags
in another terminal. Processes can be killed by their ids, or with ` + "`meridian fleet kill n1`" + `, and
started again with ` + "`meridian fleet start n1`" + `; or frozen and thawed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.fleet(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.IntVar(&c.Nodes, "nodes", 3, "how many nodes, 1 to 9")
	f.IntVar(&c.Edges, "edges", 1, "how many edges, up to 9")
	f.StringVar(&c.Dir, "data", "", "folder of everything; empty: a temporary one")
	for _, x := range []struct{ what, short string }{
		{"start", "Start a process of the fleet that does not run"},
		{"stop", "Drain and end a process of the fleet"},
		{"kill", "Kill a process of the fleet, as a crash does"},
		{"freeze", "Stop a process of the fleet in its tracks, as a hanging machine does"},
		{"thaw", "Let a frozen process of the fleet go on"},
	} {
		cmd.AddCommand(&cobra.Command{
			Use: x.what + " NAME", Short: x.short, Args: func(cmd *cobra.Command, args []string) error {
				if len(args) != 1 {
					return usagef("%s: which process? write one name, such as n1 or e1", cmd.CommandPath())
				}
				return nil
			},
			RunE: func(cmd *cobra.Command, args []string) error {
				file, err := a.fleetFile()
				if err != nil {
					return err
				}
				return fleet.Ask(cmd.Context(), file, x.what, args[0])
			},
		})
	}
	return cmd
}

// fleetFile is where a running fleet says how it is reached.
func (a *app) fleetFile() (string, error) {
	dir := a.getenv("CONFIG_DIR")
	if dir == "" {
		user, err := os.UserConfigDir()
		if err != nil {
			return "", fmt.Errorf("no folder for contexts: %w; set MERIDIAN_CONFIG_DIR", err)
		}
		dir = filepath.Join(user, "meridian")
	}
	return filepath.Join(dir, "fleet.json"), os.MkdirAll(dir, 0o700)
}

// fleet runs processes until ctx ends.
func (a *app) fleet(ctx context.Context, c fleet.LocalConfig) (err error) {
	if c.Binary, err = os.Executable(); err != nil {
		return err
	}
	if c.Dir == "" {
		if c.Dir, err = os.MkdirTemp("", "meridian-fleet-"); err != nil {
			return err
		}
		defer os.RemoveAll(c.Dir)
	}
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	c.Out = a.err
	file, err := a.fleetFile()
	if err != nil {
		return err
	}
	local, err := fleet.NewLocal(c)
	if err != nil {
		return err
	}
	if err := a.writeFleetContexts(local); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "ready {\"context\":%q,\"edges\":[%s],\"pid\":%d}\n", fleetContext, quoted(local.Edges()), os.Getpid())
	fmt.Fprintf(a.err, "In another terminal:\n\n  %[1]s pub demo:greetings hello\n  %[1]s sub demo:greetings --from start\n  %[1]s fleet kill n1\n  %[1]s fleet start n1\n\n", os.Args[0])
	var group sync.WaitGroup
	defer group.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() {
		if err := local.Control(ctx, file); err != nil {
			fmt.Fprintln(a.err, "fleet start, stop, kill, freeze and thaw do not work:", err)
		}
	})
	return local.Run(ctx)
}

func quoted(list []string) string {
	var all []string
	for _, s := range list {
		all = append(all, fmt.Sprintf("%q", s))
	}
	return strings.Join(all, ",")
}

// writeFleetContexts writes how to reach each edge, and selects the first.
func (a *app) writeFleetContexts(local *fleet.Local) error {
	contexts, err := a.contexts()
	if err != nil {
		return err
	}
	token, err := local.Token("fleet", 30*24*time.Hour)
	if err != nil {
		return err
	}
	for i, url := range local.Edges() {
		name := fleetContext
		if i > 0 {
			name = fmt.Sprint(fleetContext, "-", i+1)
		}
		if err := contexts.Put(config.Context{Name: name, URL: url, Token: token, CA: local.CA(), Nodes: local.Nodes()}); err != nil {
			return err
		}
	}
	if len(local.Edges()) == 0 {
		return nil
	}
	return contexts.Select(fleetContext)
}
