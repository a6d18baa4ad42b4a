package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (c *cli) events() *cobra.Command {
	var (
		after  int64
		follow bool
		show   display
	)
	cmd := &cobra.Command{
		Use:   "events ID",
		Short: "Print the events of a process, or follow them",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if after < 0 {
				return &usageError{err: errNegativeAfter}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			if follow {
				return c.follow(cmd.Context(), s, args[0], after, show)
			}
			return c.list(cmd.Context(), s, args[0], after, show)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.Int64Var(&after, "after", 0, "begin after this sequence number")
	f.BoolVarP(&follow, "follow", "f", false, "stream until the process ends; the exit code says how")
	show.addFlag(f)
	return cmd
}

// list prints the events that are there, a line each.
func (c *cli) list(ctx context.Context, s *session, id string, after int64, show display) error {
	const page = 1000
	for {
		events, err := s.Events(ctx, id, after, page)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := show.line(c.out, e); err != nil {
				return err
			}
			after = e.Seq
		}
		if len(events) < page {
			return nil
		}
	}
}
