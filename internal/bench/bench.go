package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// touchWait is how long to wait between two looks.
const touchWait = 50 * time.Millisecond

// A Config says what to measure. Command and Out are needed.
type Config struct {
	// Command starts a child: a program and its arguments, to which a role is added. The
	// child's main calls Child.
	Command []string
	// Rows are names of rows or of groups (fanout, idle). Empty: all.
	Rows []string
	// Group, if not empty, is the only one of which rows run.
	Group string
	// Pairs is how many times subject and base run, in turn. 0: 5.
	Pairs int
	// For is the length of one run. 0: 20 s.
	For time.Duration
	// Flow says with which session flow control: "off" as Chromium, "on" as Safari, or
	// "both". Empty: off.
	Flow string
	// Sessions bounds the sessions of one process, for a machine or a test that is small.
	// 0: as many as the row says.
	Sessions int
	// Dir is a folder on the disk under test. Empty: the system's for temporary files.
	Dir string
	// Via is how nodes are driven: "node" or "session". Empty: both.
	Via string
	// Unanswered is how many publishes each of many publishers has on the way. 0: 16.
	Unanswered int
	// NoBase leaves the baselines out.
	NoBase bool
	// Window is the credit of a subscription, bytes. 0: 64 KiB.
	Window uint64
	// Profiles is a folder for CPU profiles of the servers. Empty: none.
	Profiles string
	// JSON prints one line of JSON per row instead of tables.
	JSON bool
	Out  io.Writer
	// Progress says what runs. Nil: nothing.
	Progress io.Writer
}

// ErrMissed is returned by Run when a figure does not reach its bound.
var ErrMissed = errors.New("bench: a figure was missed")

// ErrAsked is wrapped by Run where it was asked for what does not exist.
var ErrAsked = errors.New("bench")

// bench is one Run.
type bench struct {
	cfg      Config
	flow     bool
	row      string
	profiles int
}

func (b *bench) scaled(n int) int {
	if b.cfg.Sessions > 0 {
		return min(n, b.cfg.Sessions)
	}
	return n
}

// Run measures and prints: every row as it ends, and all of them in a summary. It returns ErrMissed
// when all ran and a figure was missed.
func Run(ctx context.Context, cfg Config) (err error) {
	if cfg.Pairs == 0 {
		cfg.Pairs = 5
	}
	if cfg.For == 0 {
		cfg.For = 20 * time.Second
	}
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	if len(cfg.Command) == 0 {
		return errors.New("bench: no command for the children")
	}
	flows, ok := map[string][]bool{"": {false}, "off": {false}, "on": {true}, "both": {false, true}}[cfg.Flow]
	if !ok {
		return fmt.Errorf("%w: flow control %q; write off, on or both", ErrAsked, cfg.Flow)
	}
	if cfg.Via != "" && cfg.Via != viaNode && cfg.Via != viaSession {
		return fmt.Errorf("%w: via %q; write %s or %s", ErrAsked, cfg.Via, viaNode, viaSession)
	}
	chosen, err := choose(cfg.Rows, cfg.Group, cfg.Via)
	if err != nil {
		return err
	}
	missed := false
	var all summary
	if !cfg.JSON {
		defer func() { err = errors.Join(err, all.print(cfg.Out)) }() // also of those before one that failed
	}
	for _, r := range chosen {
		for i, flow := range flows {
			if i > 0 && !r.flow {
				continue
			}
			res, err := runRow(ctx, cfg, r, flow)
			if err != nil {
				return fmt.Errorf("bench %s: %w", r.name, err)
			}
			missed = missed || res.missed()
			all.add(res, cfg)
			if err := res.print(cfg); err != nil {
				return err
			}
		}
	}
	if missed {
		return ErrMissed
	}
	return nil
}

// runRow runs the pairs of one row. Which side begins alternates.
func runRow(ctx context.Context, cfg Config, r row, flow bool) (*result, error) {
	res := &result{row: r, flow: flow}
	b := &bench{cfg: cfg, flow: flow, row: r.name}
	pairs := cfg.Pairs
	if r.alone {
		pairs = 1
	}
	one := func(i int, name string, run func(context.Context, *bench) (sample, error), to *[]sample) error {
		fmt.Fprintf(cfg.Progress, "%s: %d of %d: %s\n", r.name, i+1, pairs, name)
		s, err := run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		*to = append(*to, s)
		return nil
	}
	if cfg.NoBase {
		res.row.base, r.base = nil, nil
	} else if r.disk {
		var err error
		if res.disk, err = diskFor(ctx, b, min(cfg.For, time.Second)); err != nil {
			return nil, err
		}
	}
	for i := range pairs {
		sides := []func() error{
			func() error { return one(i, "meridian", r.subject, &res.subject) },
			func() error {
				if r.base == nil {
					return nil
				}
				return one(i, r.baseName, r.base, &res.base)
			},
		}
		if i%2 == 1 {
			sides[0], sides[1] = sides[1], sides[0]
		}
		for _, side := range sides {
			if err := side(); err != nil {
				return nil, err
			}
		}
	}
	return res, nil
}
