package main

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/fleet"
	"github.com/meridian-relay/meridian/internal/token"
)

type tokenOptions struct {
	key      string
	issuer   string
	audience string
	subject  string
	lifetime time.Duration
	allow    []string
	jwks     bool
}

func newToken(a *app) *cobra.Command {
	var o tokenOptions
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Sign a token, for development or with a key of your own",
		Long: `Sign a token and print it.

With --key the token is signed with your key (Ed25519, ECDSA on P-256, or RSA, in PEM); --jwks
prints the key set that an edge needs to verify it. Without --key it is signed for the relay of
` + "`meridian dev`" + `.`,
		Example: `  meridian token --subject alice --allow 'demo:*=subscribe,publish'
  openssl genpkey -algorithm ed25519 -out key.pem && meridian token --key key.pem --jwks > keys.json
  meridian token --key key.pem --issuer https://auth.example.com --subject alice --allow 'chat:*=subscribe'`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "file of the private key, in PEM")
	f.StringVar(&o.issuer, "issuer", "", "claim iss; needed with --key")
	f.StringVar(&o.audience, "audience", fleet.DevAudience, "claim aud")
	f.StringVar(&o.subject, "subject", "dev", "claim sub: whom the token speaks for")
	f.DurationVar(&o.lifetime, "lifetime", time.Hour, "until it expires")
	f.StringArrayVar(&o.allow, "allow", nil, "PATTERN=ACTION[,ACTION]: subscribe, publish, history; may repeat; without --key, default: everything")
	f.BoolVar(&o.jwks, "jwks", false, "print the key set that verifies --key's tokens instead")
	f.StringVar(&a.context, "context", "", "the context whose relay it is for; default: MERIDIAN_CONTEXT, or the selected one")
	cmd.RunE = func(*cobra.Command, []string) error {
		out, err := a.token(&o)
		if err != nil {
			return err
		}
		l := newLines(a.out)
		if err := l.text(out); err != nil {
			return err
		}
		return l.flush()
	}
	return cmd
}

func (a *app) token(o *tokenOptions) (string, error) {
	if o.lifetime <= 0 {
		return "", usagef("--lifetime %v: write a time above 0, such as 1h", o.lifetime)
	}
	capabilities, err := parseAllow(o.allow)
	if err != nil {
		return "", err
	}
	var signer *token.Signer
	switch {
	case o.key != "":
		signer, err = token.LoadSigner(o.key)
		if err != nil {
			return "", err
		}
		if o.jwks {
			set, err := signer.JWKS()
			return string(set), err
		}
		if o.issuer == "" || len(capabilities) == 0 {
			return "", usagef("with --key, say --issuer and --allow too")
		}
	case o.jwks:
		return "", usagef("--jwks needs --key: only a key has a public half")
	default:
		signer, err = a.devSigner()
		if err != nil {
			return "", err
		}
		if o.issuer == "" {
			o.issuer = fleet.DevIssuer
		}
		if len(capabilities) == 0 {
			capabilities = fleet.Everything()
		}
	}
	return signer.Sign(token.Claims{
		Issuer: o.issuer, Audience: o.audience, Subject: o.subject, Lifetime: o.lifetime, Capabilities: capabilities,
	})
}

// devSigner signs for the development relay of the context.
func (a *app) devSigner() (*token.Signer, error) {
	x, err := a.target()
	if err != nil {
		return nil, err
	}
	secret, err := hex.DecodeString(x.Signing)
	if err != nil || len(secret) == 0 {
		return nil, fmt.Errorf("context %q is not of a development relay, so there is nothing to sign with; use --key", x.Name)
	}
	return token.NewSecretSigner(secret)
}

// parseAllow reads PATTERN=ACTION,ACTION.
func parseAllow(entries []string) (map[string][]string, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	capabilities := make(map[string][]string)
	for _, entry := range entries {
		i := strings.LastIndex(entry, "=") // a channel's name may have one
		if i <= 0 || i == len(entry)-1 {
			return nil, usagef("--allow %q: write PATTERN=ACTION[,ACTION], such as 'chat:*=subscribe,publish'", entry)
		}
		pattern := entry[:i]
		capabilities[pattern] = append(capabilities[pattern], strings.Split(entry[i+1:], ",")...)
	}
	return capabilities, nil
}
