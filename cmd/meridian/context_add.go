package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

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
				x.Token = strings.TrimSpace(string(b))
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
	f.BoolVar(&selected, "select", false, "select it too")
	return cmd
}

func checkContext(x *config.Context) error {
	if err := config.CheckContextName(x.Name); err != nil {
		return usageError{err}
	}
	if err := checkURL(x.URL); err != nil {
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
	return nil
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return usagef("--url %q: write https://HOST:PORT, or http://HOST:PORT on loopback", s)
	}
	return nil
}
