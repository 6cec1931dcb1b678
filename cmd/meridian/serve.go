package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
)

func newServe(a *app) *cobra.Command {
	return group(a, "serve", "Run a server", newServeEdge(a), newServeCore(a))
}

// newServeSettings adds the flags that every server has; the texts say what some are there.
func newServeSettings(cmd *cobra.Command, name, listen, ops string) *settings {
	s := newSettings(cmd)
	s.flag("name", "", name)
	s.flag("listen", "", listen)
	s.flag("ops", "", ops)
	s.flag("grace", "", "how long a drain takes at most")
	s.flag("log.level", "log-level", "debug, info, warn or error")
	s.flag("log.format", "log-format", "text or json")
	return s
}

// ready prints the line that programs wait for; where is JSON that says where a server is.
func (a *app) ready(where any) error {
	line, err := json.Marshal(where)
	if err == nil {
		_, err = fmt.Fprintf(a.out, "ready %s\n", line)
	}
	return err
}

// runReloading runs a server until ctx ends, and calls reload at each SIGHUP; never twice at a
// time, and not after it has returned.
func runReloading(ctx context.Context, run func(context.Context) error, reload func(context.Context)) error {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	reloading, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangUps:
				reload(reloading)
			case <-reloading.Done():
				return
			}
		}
	}()
	err := run(ctx)
	stop()
	<-done
	return err
}

// reloaded tells what came of a reload, and returns the settings now in force: the old ones where
// it failed. live are those that need no restart.
func reloaded(log *slog.Logger, old, set *config.Settings, err error, live ...string) *config.Settings {
	if err != nil {
		log.Error("not reloaded; all stays as it was", "error", err)
		return old
	}
	if changed := set.Differ(old, live...); len(changed) > 0 {
		log.Warn("these settings changed, and need a restart", "settings", strings.Join(changed, ", "))
	}
	return set
}
