package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/meridian-relay/meridian/internal/pki"
)

func newPKI(a *app) *cobra.Command {
	return group(a, "pki", "A small certificate authority, for a fleet that has none",
		newPKIInit(a), newPKIIssue(a))
}

func newPKIInit(a *app) *cobra.Command {
	var fleet, dir string
	cmd := &cobra.Command{
		Use:   "init --fleet ID",
		Short: "Make the authority of a fleet",
		Long: `Make the authority of a fleet: ca.pem, which every process needs, and ca.key, which signs, and
should leave this machine only to a safe. It is valid for ten years. Nothing is overwritten.`,
		Example: `  meridian pki init --fleet prod --dir pki`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := pki.CheckFleet(fleet); err != nil {
				return usagef("--%v", err)
			}
			authority, err := pki.Init(dir, fleet, time.Now())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "authority of fleet %s until %s: %s\n", fleet, date(authority.Cert.NotAfter), filepath.Join(dir, pki.AuthorityFile))
			return err
		},
	}
	cmd.Flags().StringVar(&fleet, "fleet", "", "the fleet's id: lower-case letters, digits, dots, dashes and underscores")
	pkiDir(cmd, &dir)
	return cmd
}

func newPKIIssue(a *app) *cobra.Command {
	return group(a, "issue", "Issue a certificate for a process of the fleet",
		newPKIIssueRole(a, pki.Node), newPKIIssueRole(a, pki.Edge))
}

func newPKIIssueRole(a *app, role pki.Role) *cobra.Command {
	var dir string
	var hosts []string
	var days int
	var replace bool
	cmd := &cobra.Command{
		Use:   fmt.Sprintf("%s NAME", role),
		Short: fmt.Sprintf("Issue a certificate for the %s of a name", role),
		Long: fmt.Sprintf(`Issue a certificate, NAME.pem, and its key, NAME.key. It names the %[1]s by the URI
spiffe://FLEET/%[1]s/NAME; the fleet goes by that, and whoever goes by hosts, by --host.`, role),
		Example: fmt.Sprintf(`  meridian pki issue %s %c1 --dir pki --host %[2]c1.example.com --host 10.0.0.7`, role, role[0]),
		Args:    cobra.ExactArgs(1),
	}
	f := cmd.Flags()
	f.StringArrayVar(&hosts, "host", nil, "DNS name or IP address at which it is reached; may repeat")
	f.IntVar(&days, "days", pki.DefaultDays, "how long it is valid")
	f.BoolVar(&replace, "replace", false, "overwrite its files, to renew it")
	pkiDir(cmd, &dir)
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if days < 1 {
			return usagef("--days %d: write 1 to %d", days, pki.AuthorityDays)
		}
		authority, err := pki.Open(dir)
		if err != nil {
			return err
		}
		leaf, err := authority.Issue(role, args[0], hosts, days, time.Now())
		if err != nil {
			return err
		}
		if err := leaf.Save(dir, args[0], replace); err != nil {
			return err
		}
		name := pki.Name{Fleet: authority.Fleet, Role: role, Name: args[0]}
		_, err = fmt.Fprintf(a.out, "%v until %s: %s, %s\n", name, date(leaf.NotAfter), filepath.Join(dir, args[0]+".pem"), filepath.Join(dir, args[0]+".key"))
		return err
	}
	return cmd
}

func pkiDir(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "dir", ".", "folder of the authority's files")
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }
