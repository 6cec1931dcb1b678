package main

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/config"
)

func newContextShow(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show [NAME]", Short: "Show a context, or the selected one, without its secrets",
		Args: cobra.MaximumNArgs(1),
	}
	output := outputFlag(cmd.Flags())
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		contexts, err := a.contexts()
		if err != nil {
			return err
		}
		x, err := contexts.Get(cmp.Or(strings.Join(args, ""), a.context, a.getenv("CONTEXT")))
		if err != nil {
			return err
		}
		for _, secret := range []*string{&x.Token, &x.Signing} {
			if *secret != "" {
				*secret = config.Redacted
			}
		}
		l := newLines(a.out)
		if *output == jsonOut {
			err = l.json(struct {
				Name string `json:"name"`
				*config.Context
			}{x.Name, x})
		} else {
			for _, line := range [][2]string{
				{"name", x.Name}, {"url", x.URL}, {"token", x.Token}, {"token command", x.TokenCommand},
				{"certificate hashes", strings.Join(x.CertHashes, " ")}, {"ca", x.CA},
				{"nodes", strings.Join(x.Nodes, " ")}, {"signing", x.Signing},
			} {
				if line[1] != "" {
					err = cmp.Or(err, l.text(line[0]+": "+line[1]))
				}
			}
		}
		return cmp.Or(err, l.flush())
	}
	return cmd
}
