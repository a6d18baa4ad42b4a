package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
)

func (c *cli) doctor() *cobra.Command {
	var (
		patience time.Duration
		show     display
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with this deployment, and how to mend it",
		Long: `Say what is wrong with this deployment, and how to mend it: database, roles, settings, clocks, plugins, queues and turns
that are stuck. It changes nothing. Exit code 1 when something is broken now; warnings alone are 0.`,
		Args: wanted(cobra.NoArgs),
		RunE: c.connected(func(cmd *cobra.Command, s *session, _ []string) error {
			over := c.busy("examining")
			found, err := s.examine(cmd.Context(), patience)
			over()
			if err != nil {
				return err
			}
			return c.tell(found, show.json)
		}),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&patience, "patience", 5*time.Minute, "how long a job, a lapsed lease or a transaction may wait without being a finding")
	c.settings.addFlags(f, func(s *setting) bool { return s.flag == "plugins" || s.flag == "cache-dir" })
	show.addFlag(f)
	return cmd
}

// sick is the end of a doctor who has found something broken.
type sick int

func (n sick) Error() string { return fmt.Sprintf("%d things are broken", int(n)) }

// examine looks at what the database can tell, and at what only this machine can.
func (s *session) examine(ctx context.Context, patience time.Duration) ([]store.Finding, error) {
	var found []store.Finding
	err := queue.Check(ctx, s.pool, queue.Options{RiverSchema: s.RiverSchema})
	switch {
	case errors.Is(err, queue.ErrNotMigrated), errors.Is(err, queue.ErrTooOld), errors.Is(err, queue.ErrRiverSchema), errors.Is(err, queue.ErrChecksum):
		found = append(found, store.Finding{Level: "error", Area: "migrations", Text: err.Error(), Fix: "run `worker migrate` with the newest version that you deploy, and the same RIVER_SCHEMA everywhere"})
	case err != nil:
		return nil, err
	}
	if !errors.Is(err, queue.ErrNotMigrated) {
		more, err := s.Findings(ctx, patience)
		if err != nil {
			return nil, err
		}
		asked := time.Now()
		now, err := s.Now(ctx)
		if err != nil {
			return nil, err
		}
		found = append(append(found, more...), skew(asked, time.Now(), now)...)
	}
	if s.config.Plugins == "" {
		return found, nil
	}
	problems, err := worker.Inspect(ctx, s.config.Plugins, s.Cache)
	if err != nil {
		return append(found, store.Finding{Level: "error", Area: "plugins", Text: err.Error(), Fix: "set TOWPATH_PLUGINS to the folder of NAME.wasm and NAME.toml"}), nil
	}
	for _, p := range problems {
		found = append(found, store.Finding{Level: "error", Area: "plugins", Text: p.String(), Fix: "mend or remove the file; a running node takes it up by itself"})
	}
	return found, nil
}

// maxSkew is how far this machine's clock may be from the database's. Nothing depends on it but people who read logs,
// and certificates.
const maxSkew = 5 * time.Second

// skew compares the database's clock with what this machine's showed before and after the question.
func skew(before, after, theirs time.Time) []store.Finding {
	off := theirs.Sub(before)
	if off > 0 {
		off = max(theirs.Sub(after), 0)
	}
	if off.Abs() <= maxSkew {
		return nil
	}
	return []store.Finding{{Level: "warning", Area: "clock",
		Text: fmt.Sprintf("this machine's clock and the database's are %v apart", off.Abs().Round(time.Millisecond)), Fix: "run NTP on both: logs and certificates go by these clocks, turns by the database's alone"}}
}

func (c *cli) tell(found []store.Finding, json bool) error {
	slices.SortStableFunc(found, func(a, b store.Finding) int { return cmp.Compare(a.Level, b.Level) })
	broken := 0
	for _, f := range found {
		if f.Level == "error" {
			broken++
		}
		if json {
			if err := writeJSON(c.out, f); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(c.out, "%-8s %s: %s\n         fix: %s\n", f.Level, f.Area, f.Text, f.Fix)
	}
	if broken > 0 {
		return sick(broken)
	}
	if len(found) == 0 && !json {
		fmt.Fprintln(c.out, "nothing is wrong")
	}
	return nil
}
