package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

func (c *cli) prune() *cobra.Command {
	var (
		wish           store.Prune
		before, filter string
		older          time.Duration
		show           display
	)
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what has ended and is past retention, and print how much of what went",
		Long: `Remove what has ended and is past retention, and print how much of what went. Workers do so every hour by themselves;
towpath.retention_put says how long the things of a tenant or profile are kept. What lives is never touched, nor what is
the parent of something that stays. It may be stopped and started again at any time.`,
		Args: wanted(cobra.NoArgs),
		RunE: c.connected(func(cmd *cobra.Command, s *session, _ []string) error {
			switch {
			case before != "" && older != 0:
				return &usageError{err: fmt.Errorf("give --before or --older-than, not both")}
			case older < 0:
				return &usageError{err: fmt.Errorf("--older-than is below 0")}
			case before != "":
				at, err := time.Parse(time.RFC3339, before)
				if err != nil {
					return &usageError{err: fmt.Errorf("--before is not a time"), hint: "for example 2026-01-31T12:00:00Z"}
				}
				wish.Cutoff = &at
			case older > 0:
				at, err := s.Now(cmd.Context())
				if err != nil {
					return err
				}
				wish.Cutoff = new(at.Add(-older))
			}
			if filter != "" {
				if !json.Valid([]byte(filter)) {
					return &usageError{err: fmt.Errorf("--filter is not JSON"), hint: `for example '{"tenant": "acme", "status": "completed"}'`}
				}
				wish.Filter = json.RawMessage(filter)
			}
			over := c.busy("pruning")
			counts, err := s.Prune(cmd.Context(), wish)
			over()
			if shown := c.showCounts(counts, show); err == nil {
				err = shown
			}
			return err
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&wish.DryRun, "dry-run", false, "remove nothing, print what would go")
	f.DurationVar(&older, "older-than", 0, "what ended longer ago than this, such as 720h, whatever the retention says")
	f.StringVar(&before, "before", "", "what ended before this time, whatever the retention says")
	f.StringVar(&filter, "filter", "", "only what fits: tenant, project, profile, session, class, status, kind, label, as JSON")
	f.StringVar(&wish.Watermark, "watermark", "", "a place of the change feed: what it has told after that stays")
	f.IntVar(&wish.Batch, "batch", 0, "processes a transaction; 0: 1000")
	show.addFlag(f)
	return cmd
}

// showCounts prints what went, by name.
func (c *cli) showCounts(counts store.Pruned, show display) error {
	if show.json {
		return writeJSON(c.out, counts)
	}
	if len(counts) == 0 {
		_, err := fmt.Fprintln(c.out, "nothing to prune")
		return err
	}
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(w, "%s\t%d\n", name, counts[name])
	}
	return w.Flush()
}
