package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/core/nodeapi"
	"github.com/meridian-relay/meridian/internal/config"
)

func newContextAdd(a *app) *cobra.Command {
	var x config.Context
	var selected bool
	cmd := &cobra.Command{
		Use:   "add NAME --url URL [--token TOKEN|-] [--token-command COMMAND]",
		Short: "Add a context",
		Example: `  meridian context add prod --url https://relay.example.com --token-command 'cat ~/.relay-token'
  meridian context add lab --url https://10.0.0.7:4433 --cert-hash 3c5f… --token - < token.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			x.Name = args[0]
			if err := checkContext(&x); err != nil {
				return err
			}
			if x.Token == "-" {
				b, err := io.ReadAll(io.LimitReader(a.in, 64<<10))
				if err != nil {
					return fmt.Errorf("read the token from standard input: %w", err)
				}
				if x.Token = strings.TrimSpace(string(b)); x.Token == "" {
					return usagef("--token -: standard input has no token")
				}
			}
			if x.CA != "" { // found again from any folder
				if _, err := pool(x.CA); err != nil {
					return fmt.Errorf("--ca: %w", err)
				}
				path, err := filepath.Abs(x.CA)
				if err != nil {
					return err
				}
				x.CA = path
			}
			contexts, err := a.contexts()
			if err != nil {
				return err
			}
			if err := contexts.Add(x); err != nil {
				return err
			}
			if !selected {
				return nil
			}
			return contexts.Select(x.Name)
		},
	}
	f := cmd.Flags()
	f.StringVar(&x.URL, "url", "", "where the relay is: https://HOST:PORT, or http://HOST:PORT on loopback")
	f.StringVar(&x.Token, "token", "", "the token; - reads it from standard input")
	f.StringVar(&x.TokenCommand, "token-command", "", "a shell command that prints a token, run whenever one is needed")
	f.StringVar(&x.CA, "ca", "", "a file of certificates to trust, in PEM; default: what the system trusts")
	f.StringArrayVar(&x.CertHashes, "cert-hash", nil, "SHA-256 of a certificate to trust, in hexadecimal; may repeat")
	f.StringArrayVar(&x.Nodes, "node", nil, "a node's ops listener, http://HOST:PORT, for commands about shards; may repeat")
	f.BoolVar(&selected, "select", false, "select it too")
	return cmd
}

func checkContext(x *config.Context) error {
	if err := config.CheckContextName(x.Name); err != nil {
		return usageError{err}
	}
	if err := checkURL("--url", x.URL); err != nil {
		return err
	}
	if x.Token != "" && x.TokenCommand != "" {
		return usagef("--token and --token-command: only one of them")
	}
	for _, h := range x.CertHashes {
		if b, err := hex.DecodeString(h); err != nil || len(b) != 32 {
			return usagef("--cert-hash %q: write the SHA-256 of a certificate as 64 hexadecimal digits", h)
		}
	}
	for _, node := range x.Nodes {
		if _, err := nodeapi.NewClient(node, nil); err != nil {
			return usageError{fmt.Errorf("--node: %w", err)}
		}
	}
	return nil
}

// checkURL checks the URL of a relay; what names where it was given.
func checkURL(what, s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return usagef("%s %q: write https://HOST:PORT, or http://HOST:PORT on loopback", what, s)
	case u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return usagef("%s %q: write only https://HOST:PORT; a token goes into a context, or MERIDIAN_TOKEN", what, u.Redacted())
	case u.Scheme == "http" && u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback():
		return usagef("%s %q: without TLS everyone on the way could read the token; write https:// (http:// is for loopback)", what, s)
	}
	return nil
}
