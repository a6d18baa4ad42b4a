package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/towpath/towpath/queue"
)

func (c *cli) migrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database up to date, as a starting worker does",
		Long: `Bring the database up to date, as a starting worker does. It waits for a database that is down.
Give it an own job, and workers --no-migrate, where nodes must not own the schema.`,
		Args: wanted(cobra.NoArgs),
		RunE: c.connected(func(cmd *cobra.Command, s *session, _ []string) error {
			if err := await(cmd.Context(), s.pool, s.ConnectTimeout, s.logger(c.err)); err != nil {
				return err
			}
			over := c.busy("migrating")
			done, err := queue.Migrate(cmd.Context(), s.pool, queue.Options{RiverSchema: s.RiverSchema})
			over()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.out, summary(done))
			return err
		}),
	}
	c.settings.addFlags(cmd.Flags(), func(s *setting) bool { return s.flag == "connect-timeout" })
	return cmd
}

func summary(done queue.Report) string {
	var did []string
	if n := len(done.River); n > 0 {
		did = append(did, fmt.Sprintf("%d migrations of River", n))
	}
	did = append(did, done.Migrations...)
	if done.Functions {
		did = append(did, fmt.Sprintf("functions %d", done.Version))
	}
	if len(did) == 0 {
		return fmt.Sprintf("nothing to do: functions %d are installed", done.Version)
	}
	return "applied " + strings.Join(did, ", ")
}

// prepare migrates the database for a node, or checks that somebody has.
func (c config) prepare(ctx context.Context, pool *pgxpool.Pool) (string, error) {
	options := queue.Options{RiverSchema: c.RiverSchema}
	if c.NoMigrate {
		return "checked", queue.Check(ctx, pool, options)
	}
	done, err := queue.Migrate(ctx, pool, options)
	if err != nil {
		return "", err
	}
	return summary(done), queue.Check(ctx, pool, options)
}
