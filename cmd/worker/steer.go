package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (c *cli) steer() *cobra.Command {
	var key, input string
	cmd := &cobra.Command{
		Use:   "steer ID [TEXT | -]",
		Short: "Say something to a turn while it runs, and print the input's id",
		Args:  wanted(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			content, err := c.input(input, args[1:])
			if err != nil {
				return &usageError{err: err, hint: "usage: " + cmd.UseLine()}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			id, err := s.Steer(cmd.Context(), args[0], content, key)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, id)
			return err
		},
	}
	cmd.Flags().StringVarP(&key, "key", "k", "", "idempotency key: the same key and text is said once")
	cmd.Flags().StringVar(&input, "input", "", "whole content as a JSON object in place of TEXT; - reads it from stdin")
	return cmd
}
