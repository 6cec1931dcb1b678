package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/bench"
)

func newBench(a *app) *cobra.Command {
	return group(a, "bench", "Measure a relay on this machine against bare libraries",
		newBenchGroup(a, "fanout", "Messages to many sessions: CPU, packets and latency for each delivery"),
		newBenchGroup(a, "idle", "Sessions and subscriptions at rest: memory and CPU"),
		newBenchPublish(a), newBenchChild(a))
}

// newBenchGroup returns the command that measures one group of figures with many sessions.
func newBenchGroup(a *app, name, short string) *cobra.Command {
	var c bench.Config
	var window int64
	cmd := newBenchFigures(a, name, short, &c, "Servers and clients are processes of their own.")
	f := cmd.Flags()
	f.StringVar(&c.Flow, "flow-control", "off", "session flow control: off as Chromium, on as Safari, or both")
	f.IntVar(&c.Sessions, "sessions", 0, "at most so many sessions; 0: as many as the figure says")
	f.Int64Var(&window, "window", 64<<10, "credit of a subscription, in bytes")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if c.Pairs < 1 || c.For <= 0 || c.Sessions < 0 || window < 1 {
			return usagef("--pairs, --for and --window are above 0, --sessions is not below")
		}
		c.Window = uint64(window)
		return nil
	}
	return cmd
}

// newBenchFigures returns the command that measures one group of figures, configured by c.
func newBenchFigures(a *app, name, short string, c *bench.Config, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " [FIGURE…]",
		Short: short,
		Long: short + `.

` + long + `

Runs of Meridian and of its baseline alternate, and each figure is printed with its ratio to the
baseline of the same run. Without FIGURE, all of them. The exit code is 1 where a figure misses its
bound.`,
	}
	f := cmd.Flags()
	f.IntVar(&c.Pairs, "pairs", 5, "runs of each side")
	f.DurationVar(&c.For, "for", 20*time.Second, "length of a run")
	f.StringVar(&c.Profiles, "profiles", "", "folder for CPU profiles of the servers")
	output := outputFlag(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if c.Pairs < 1 || c.For <= 0 {
			return usagef("--pairs and --for are above 0")
		}
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		c.Command = []string{program, "bench", "child"}
		c.Group, c.Rows = name, args
		c.JSON, c.Out, c.Progress = *output == jsonOut, a.out, a.err
		err = bench.Run(cmd.Context(), *c)
		if errors.Is(err, bench.ErrAsked) {
			return usageError{err}
		}
		return err
	}
	return cmd
}
