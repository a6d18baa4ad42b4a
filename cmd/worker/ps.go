package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

func (c *cli) ps() *cobra.Command {
	var (
		session, profile string
		limit            int
		all              bool
		show             display
	)
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "List processes, newest first",
		Args:  wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return &usageError{err: fmt.Errorf("--limit is %d: from 1", limit)}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			filter := map[string]any{}
			if session != "" {
				filter["session"] = session
			}
			if profile != "" {
				filter["profile"] = profile
			}
			if all {
				filter["status"] = "any"
			}
			list, err := newest(cmd.Context(), s.Store, filter, limit)
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
			return c.processTable(list)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVarP(&all, "all", "a", false, "also those that have ended")
	f.StringVarP(&session, "session", "s", "", "only those of this session")
	f.StringVarP(&profile, "profile", "p", "", "only those of this profile")
	f.IntVar(&limit, "limit", 100, "how many at most")
	_ = cmd.RegisterFlagCompletionFunc("profile", c.completeProfiles)
	show.addFlag(f)
	return cmd
}

// newest reads as many processes as are wanted, page by page.
func newest(ctx context.Context, s *store.Store, filter map[string]any, limit int) ([]store.Process, error) {
	const page = 500
	var list []store.Process
	place := ""
	for len(list) < limit {
		max := min(limit-len(list), page)
		rows, err := s.ListProcesses(ctx, filter, place, max)
		if err != nil {
			return nil, err
		}
		for _, p := range rows {
			list, place = append(list, p.Process), p.Place
		}
		if len(rows) < max {
			break
		}
	}
	return list, nil
}

func (c *cli) processTable(list []store.Process) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATUS\tPROFILE\tSESSION\tATTEMPT\tEVENTS\tJOB\tNODE\tAGE")
	for _, p := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d/%d\t%d\t%s\t%s\t%s\n", p.ID, statusOf(p), or(cmp.Or(p.Profile, p.Definition)), or(p.Session), p.Attempt, p.MaxAttempts,
			p.LastSeq, or(p.RiverJobID), or(p.Node), time.Since(p.CreatedAt).Round(time.Second))
	}
	return w.Flush()
}

// statusOf adds to the status what explains it.
func statusOf(p store.Process) string {
	switch {
	case p.FailureKind != nil:
		return p.Status + " (" + *p.FailureKind + ")"
	case p.CancelRequestedAt != nil && !p.Final():
		return p.Status + " (cancelling)"
	case p.Status == "waiting":
		var wait struct{ Kind string }
		if json.Unmarshal(p.Wait, &wait) == nil && wait.Kind != "" {
			return p.Status + " (" + wait.Kind + ")"
		}
	case p.Status == "queued" && p.RiverJobID == nil:
		return p.Status + " (in its session)"
	}
	return p.Status
}

// or shows a value that may be missing.
func or[T any](v *T) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprint(*v)
}
