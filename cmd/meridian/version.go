package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
	}
	output := outputFlag(cmd.Flags())
	cmd.RunE = func(*cobra.Command, []string) error {
		v := struct {
			Version  string `json:"version"`
			Revision string `json:"revision,omitempty"`
			Go       string `json:"go"`
			Platform string `json:"platform"`
		}{version, "", runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		if info, ok := debug.ReadBuildInfo(); ok {
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					v.Revision = s.Value
				}
			}
			if v.Version == "devel" && info.Main.Version != "(devel)" && info.Main.Version != "" {
				v.Version = info.Main.Version // go install module@version
			}
		}
		l := newLines(a.out)
		var err error
		if *output == jsonOut {
			err = l.json(v)
		} else {
			err = l.text("meridian " + v.Version + " (" + v.Go + ", " + v.Platform + ")")
		}
		if err != nil {
			return err
		}
		return l.flush()
	}
	return cmd
}
