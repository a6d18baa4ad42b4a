package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

func (c *cli) usage() *cobra.Command {
	var (
		by             string
		since, until   string
		profile, model string
		session        string
		show           display
	)
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what responses of models cost, in tokens",
		Long: `usage sums the ledger, which has one row for each response of a model. Sums leave out what a provider did not tell;
column UNKNOWN counts those responses. Days are UTC.`,
		Example: `  worker usage                                  by day
  worker usage --by session --profile deepseek   the dearest sessions first
  worker usage --by model --since 2026-11-01 --json`,
		Args: wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter := store.UsageFilter{By: by, Filter: map[string]string{}}
			for _, d := range []struct {
				text string
				into **time.Time
			}{{since, &filter.Since}, {until, &filter.Until}} {
				if d.text == "" {
					continue
				}
				day, err := time.Parse(time.DateOnly, d.text)
				if err != nil {
					return &usageError{err: fmt.Errorf("%q is no day", d.text), hint: "write it as in 2026-11-30"}
				}
				*d.into = &day
			}
			for key, value := range map[string]string{"profile": profile, "model": model, "session": session} {
				if value != "" {
					filter.Filter[key] = value
				}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			sums, err := s.UsageSummary(cmd.Context(), filter)
			if err != nil {
				return err
			}
			if show.json {
				for _, u := range sums {
					if err := writeJSON(c.out, u); err != nil {
						return err
					}
				}
				return nil
			}
			return c.usageTable(by, sums)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&by, "by", "day", "day, session, profile, model, project or tenant")
	f.StringVar(&since, "since", "", "from this `day` on")
	f.StringVar(&until, "until", "", "up to this `day`")
	f.StringVarP(&profile, "profile", "p", "", "only those of this profile")
	f.StringVarP(&session, "session", "s", "", "only those of this session")
	f.StringVar(&model, "model", "", "only those of this model")
	show.addFlag(f)
	return cmd
}

func (c *cli) usageTable(by string, sums []store.Usage) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s\tRESPONSES\tUNKNOWN\tINPUT\tCACHED\tOUTPUT\tREASONING\n", map[string]string{
		"day": "DAY", "session": "SESSION", "profile": "PROFILE", "model": "MODEL", "project": "PROJECT", "tenant": "TENANT"}[by])
	for _, u := range sums {
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\t%s\t%s\t%s\n", or(u.Key), u.Responses, u.Unknown,
			or(u.InputTokens), or(u.CachedTokens), or(u.OutputTokens), or(u.ReasoningTokens))
	}
	return w.Flush()
}
