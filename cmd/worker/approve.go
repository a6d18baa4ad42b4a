package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) approve() *cobra.Command {
	var key, decision string
	var decline bool
	var show display
	cmd := &cobra.Command{
		Use:   "approve [ID [APPROVAL]]",
		Short: "Allow what a turn waits for, or list what turns wait for",
		Long: `Without an ID it lists what running turns wait for. With one it allows what that turn waits for, or decides otherwise,
and prints the input's id. APPROVAL may be left out when the turn waits for one thing only.`,
		Args: wanted(cobra.MaximumNArgs(2)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			if len(args) == 0 {
				return c.approvals(cmd, s, show.json)
			}
			if decline {
				decision = "decline"
			}
			approval := ""
			if len(args) == 2 {
				approval = args[1]
			}
			id, err := s.Approve(cmd.Context(), args[0], approval, decision, key)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, id)
			return err
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&decision, "decision", "accept", "one of the choices, or the answer to a question")
	f.BoolVar(&decline, "decline", false, "the same as --decision decline")
	f.StringVarP(&key, "key", "k", "", "idempotency key: the same key and decision is said once")
	show.addFlag(f)
	return cmd
}

func (c *cli) approvals(cmd *cobra.Command, s *session, asJSON bool) error {
	list, err := s.Approvals(cmd.Context())
	if err != nil {
		return err
	}
	if asJSON {
		for _, a := range list {
			if err := writeJSON(c.out, a); err != nil {
				return err
			}
		}
		return nil
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tAPPROVAL\tOF\tPROFILE\tAGE\tCHOICES\tCOMMAND")
	for _, a := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.Process, a.Approval, a.Of, a.Profile, time.Since(a.Since).Round(time.Second),
			strings.Join(a.Choices, " "), or(a.Command))
	}
	return w.Flush()
}
