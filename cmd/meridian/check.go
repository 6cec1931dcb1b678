package main

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	judge "github.com/meridian-relay/meridian/internal/check"
	"github.com/meridian-relay/meridian/relay"
)

// exitBroken is the exit code of a verdict against the logs, apart from those of every command.
const exitBroken = 10

// errBroken says that logs show a broken promise.
var errBroken = errors.New("a promise was broken")

func newCheck(a *app) *cobra.Command {
	var c judge.Config
	var kept, epochs []string
	cmd := &cobra.Command{
		Use: "check FILE…", Short: "Judge the logs of publishers, subscribers and replicas",
		Long: `Judge what publishers and subscribers went through: their logs, and the histories of drained
replicas, in lines of JSON, against the promises P1 to P5 and P10. What was broken is printed with
the lines that show it, and what the verdict rests on. - is standard input.

The exit code is 0 if nothing was broken, 10 if something was, and 1 where a file is no such log.`,
		Args: cobra.ArbitraryArgs,
	}
	f := cmd.Flags()
	f.StringArrayVar(&kept, "kept", nil, "channels whose retention removes nothing (a pattern; repeatable)")
	f.StringArrayVar(&epochs, "epochs", nil, "channels that may begin new epochs and lose messages by it (a pattern; repeatable)")
	f.BoolVar(&c.Partial, "partial", false, "not every publisher has a log here")
	f.DurationVar(&c.Skew, "skew", time.Second, "by how much the clocks of logs may differ")
	f.IntVar(&c.Most, "most", 10, "how many violations to print")
	output := outputFlag(f)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s: which logs? write one file or more, or - for standard input", cmd.CommandPath())
		}
		if c.Skew <= 0 || c.Most < 1 {
			return usagef("--skew and --most are above 0")
		}
		var err error
		if c.Kept, err = patterns(kept); err != nil {
			return err
		}
		if c.Epochs, err = patterns(epochs); err != nil {
			return err
		}
		logs, err := readLogs(a, args)
		if err != nil {
			return err
		}
		v := judge.Run(c, logs...)
		if err := printVerdict(a, v, *output); err != nil {
			return err
		}
		if !v.OK() {
			return fmt.Errorf("%w: %d violations", errBroken, v.Counts.Broken)
		}
		return nil
	}
	return cmd
}

func patterns(args []string) ([]relay.Pattern, error) {
	var list []relay.Pattern
	for _, s := range args {
		p, err := relay.ParsePattern(s)
		if err != nil {
			return nil, usageError{err}
		}
		list = append(list, p)
	}
	return list, nil
}

func readLogs(a *app, names []string) ([]*judge.Log, error) {
	var logs []*judge.Log
	for _, name := range names {
		l, err := readLog(a, name)
		if err != nil {
			return nil, err
		}
		logs = append(logs, l)
	}
	return logs, nil
}

func readLog(a *app, name string) (*judge.Log, error) {
	if name == "-" {
		return judge.Read("-", a.in)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return judge.Read(name, file)
}

func printVerdict(a *app, v *judge.Verdict, f format) error {
	if f == text {
		return v.Print(a.out)
	}
	l := newLines(a.out)
	if err := l.json(v); err != nil {
		return err
	}
	return l.flush()
}
