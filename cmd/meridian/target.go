package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/client"
	"github.com/meridian-relay/meridian/internal/config"
)

// The longest that a command waits for its first session; devWithin where the relay is this
// machine's.
const (
	connectWithin = 10 * time.Second
	devWithin     = 3 * time.Second
	backoffMost   = 5 * time.Second // between attempts to connect again: somebody waits
)

// targetFlags adds the flags that say where a command connects.
func (a *app) targetFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.context, "context", "", "the context to use; default: MERIDIAN_CONTEXT, or the selected one")
	f.StringVar(&a.url, "url", "", "where the relay is, instead of what the context says; default: MERIDIAN_URL")
}

// otherURL is where the relay is, if not where the context says.
func (a *app) otherURL() string { return cmp.Or(a.url, a.getenv("URL")) }

// urlFlag names the flag if it was given.
func (a *app) urlFlag() string {
	if a.url == "" {
		return ""
	}
	return "--url"
}

// target is where to connect and as whom: the context, with what flags and environment change.
func (a *app) target() (*config.Context, error) {
	name := cmp.Or(a.context, a.getenv("CONTEXT"))
	url := a.otherURL()
	contexts, err := a.contexts()
	if err != nil {
		return nil, err
	}
	x, err := contexts.Get(name)
	if name == "" && url != "" && (errors.Is(err, config.ErrNoContext) || errors.Is(err, config.ErrNoneSelected)) {
		x, err = &config.Context{}, nil // the URL is enough
	}
	if err != nil {
		return nil, err
	}
	if url != "" {
		if err := checkURL(cmp.Or(a.urlFlag(), config.EnvPrefix+"URL"), url); err != nil {
			return nil, err
		}
		x.URL = url
	}
	if token := a.getenv("TOKEN"); token != "" {
		x.Token, x.TokenCommand = token, ""
	}
	return x, nil
}

// dial connects to the target.
func (a *app) dial(ctx context.Context, agent string) (*client.Client, error) {
	x, err := a.target()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{Token: x.Token, Agent: "meridian " + agent + "/" + version, BackoffMost: backoffMost}
	patience := connectWithin
	local := x.Name == devContext && a.otherURL() == ""
	if local {
		patience = devWithin
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no session within %v", patience))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	if x.TokenCommand != "" {
		cfg.TokenSource = func(ctx context.Context) (string, error) {
			token, err := a.runTokenCommand(ctx, x.TokenCommand)
			if err != nil {
				giveUp(err) // of connecting; once connected, a later call may do better
			}
			return token, err
		}
	}
	for _, h := range x.CertHashes {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != 32 {
			return nil, fmt.Errorf("context %q: certificate hash %q is not 64 hexadecimal digits", x.Name, h)
		}
		cfg.CertHashes = append(cfg.CertHashes, [32]byte(b))
	}
	if x.CA != "" {
		roots, err := pool(x.CA)
		if err != nil {
			return nil, fmt.Errorf("context %q: %w", x.Name, err)
		}
		cfg.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	c, err := client.Dial(ctx, x.URL, cfg)
	if err != nil && local && ctx.Err() != nil {
		err = fmt.Errorf("%w\nis `meridian dev` running?", err)
	}
	return c, err
}

// runTokenCommand returns what the command prints.
func (a *app) runTokenCommand(ctx context.Context, command string) (string, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = a.environ
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("token command %q: %w: %s", command, err, strings.TrimSpace(complaints.String()))
	}
	if len(bytes.TrimSpace(out)) == 0 {
		return "", fmt.Errorf("token command %q printed nothing", command)
	}
	return string(bytes.TrimSpace(out)), nil
}
