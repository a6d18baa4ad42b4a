package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

func (c *cli) profiles() *cobra.Command {
	var show display
	cmd := &cobra.Command{
		Use:   "profiles",
		Short: "List the backends that workers have registered",
		Args:  wanted(cobra.NoArgs),
		RunE: c.connected(func(cmd *cobra.Command, s *session, _ []string) error {
			list, err := s.Profiles(cmd.Context())
			if err != nil {
				return err
			}
			if show.json {
				for _, p := range list {
					if err := writeJSON(c.out, p); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tENABLED\tHEALTH\tATTEMPTS\tTIMEOUT\tDIGEST")
			for _, p := range list {
				fmt.Fprintf(w, "%s\t%v\t%s\t%d\t%v\t%.12s\n", p.Name, p.Enabled, p.Health, p.MaxAttempts, p.TurnTimeout, p.Digest)
			}
			return w.Flush()
		}),
	}
	show.addFlag(cmd.Flags())
	return cmd
}
