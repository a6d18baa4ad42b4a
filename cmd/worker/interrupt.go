package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) interrupt() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "interrupt ID",
		Short: "End a turn within a second, and print its status",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			status, err := s.Interrupt(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, status)
			return err
		}),
	}
	cmd.Flags().StringVar(&reason, "reason", "interrupted", "why; it is recorded")
	return cmd
}
