package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
)

func (c *cli) gc() *cobra.Command {
	return &cobra.Command{
		Use:   "gc",
		Short: "Have every worker collect what nobody needs any more, and print the report of the first",
		Long: `Have every worker collect what nobody needs any more, and print the report of the first: files of sessions that are past
retention or to be deleted, directories of no session, folders that killed processes left, compiled modules above the
cache's limit. Workers do so by themselves, see --gc-every.`,
		Args: wanted(cobra.NoArgs),
		RunE: c.connected(func(cmd *cobra.Command, s *session, _ []string) error {
			job, err := s.CollectNow(cmd.Context())
			if err != nil {
				return err
			}
			over := c.busy("waiting for a worker to collect")
			report, err := s.report(cmd.Context(), job)
			over()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, report)
			return err
		}),
	}
}

// report waits for the end of a River job and returns its output.
func (s *session) report(ctx context.Context, job int64) (string, error) {
	query := "select state::text, coalesce(metadata ->> 'output', ''), coalesce(errors[array_upper(errors, 1)] ->> 'error', '') from " +
		pgx.Identifier{s.RiverSchema, "river_job"}.Sanitize() + " where id = $1"
	for {
		var state, output, trouble string
		if err := s.pool.QueryRow(ctx, query, job).Scan(&state, &output, &trouble); err != nil {
			return "", err
		}
		switch state {
		case "completed":
			return output, nil
		case "cancelled", "discarded":
			return "", fmt.Errorf("job %d is %s: %s", job, state, trouble)
		}
		// River tells nobody that a job has ended.
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
