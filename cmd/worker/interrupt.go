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
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			status, err := s.Interrupt(cmd.Context(), args[0], reason)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, status)
			return err
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "interrupted", "why; it is recorded")
	return cmd
}
