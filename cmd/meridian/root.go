package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
)

// app is what every command shares.
type app struct {
	in       io.Reader
	out, err io.Writer
	environ  []string

	context, url string // flags
}

// getenv returns MERIDIAN_name.
func (a *app) getenv(name string) string {
	for _, entry := range a.environ {
		if value, ok := strings.CutPrefix(entry, config.EnvPrefix+name+"="); ok {
			return value
		}
	}
	return ""
}

func (a *app) contexts() (*config.Contexts, error) {
	return config.OpenContexts(a.getenv("CONFIG_DIR"))
}

// run runs one command line and returns its exit code.
func run(ctx context.Context, a app, args []string) int {
	root, started := newRoot(&a)
	root.SetArgs(args)
	command, err := root.ExecuteContextC(ctx)
	if err != nil && !*started {
		err = usageError{err}
	}
	code := exitCode(err)
	if err != nil && code != exitDone {
		fmt.Fprintf(a.err, "meridian: %v\n", err)
	}
	if code == exitUsage {
		fmt.Fprintf(a.err, "see %s --help\n", command.CommandPath())
	}
	return code
}

// newRoot returns the tree of commands. started turns true when one begins: an error before is
// one of usage.
func newRoot(a *app) (root *cobra.Command, started *bool) {
	started = new(bool)
	root = &cobra.Command{
		Use:           "meridian",
		Short:         "A multi-region relay for real-time channels",
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			*started = true
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return misused(a, cmd)
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(
		newDev(a), newFleet(a), newServe(a), newPub(a), newSub(a), newHistory(a),
		newShard(a), newChannel(a), newToken(a), newPKI(a), newContext(a), newConfig(a), newBench(a), newCheck(a), newVersion(a),
	)
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			c.Args = cobra.NoArgs
			c.RunE = func(cmd *cobra.Command, _ []string) error { return misused(a, cmd) }
		case "help":
			c.Args = func(_ *cobra.Command, topic []string) error {
				_, _, err := root.Find(topic)
				return err
			}
		}
	}
	return root, started
}

// needsChannel and needsOneChannel are the arguments of commands about channels.
func needsChannel(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s: which channel? write namespace:name, such as demo:greetings", cmd.CommandPath())
	}
	return nil
}

func needsOneChannel(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usagef("%s: %d channels; write one", cmd.CommandPath(), len(args))
	}
	return needsChannel(cmd, args)
}

// group returns a command that only holds others.
func group(a *app, use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return misused(a, cmd) },
	}
	g.AddCommand(commands...)
	return g
}

// misused says which commands there are, where one was left out.
func misused(a *app, cmd *cobra.Command) error {
	fmt.Fprint(a.err, cmd.UsageString())
	return usagef("%s: which command?", cmd.CommandPath())
}
