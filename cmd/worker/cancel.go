package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func (c *cli) cancel() *cobra.Command {
	var (
		reason string
		grace  time.Duration
	)
	cmd := &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a process, and print its status",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			status, err := s.Cancel(cmd.Context(), args[0], reason, grace)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, status)
			return err
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "cancelled by request", "why; it is recorded")
	cmd.Flags().DurationVar(&grace, "grace", 10*time.Second, "how long a running turn may take to end by itself")
	return cmd
}
