package main

import (
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

func (c *cli) gate() *cobra.Command {
	var (
		account, per, session string
		capacity              int
		budget                int64
		hold                  time.Duration
		release               bool
		show                  display
	)
	cmd := &cobra.Command{
		Use:   "gate [PROFILE]",
		Short: "Show or say what holds back the turns of profiles",
		Long: `gate lists, for each profile, how many of its turns run, for how long its provider wants to be left alone, and its budget.

With a PROFILE and flags it says how many turns may run at once over all nodes, which account at the provider the profile
belongs to (what holds one profile of an account holds all), and how many tokens its turns may cost in a day or month
before no other begins. Turns that a budget holds back wait, and go on when there is more; none is lost. 0 and "" take a
bound away.`,
		Example: `  worker gate
  worker gate minimax-m3 --capacity 20 --account team --budget 5000000 --per day
  worker gate minimax-m3 --release             go on although the provider asked to wait
  worker gate --session s1 --budget 200000     for all turns of a session`,
		Args: wanted(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			changed := cmd.Flags().Changed
			if len(args) == 1 && session != "" {
				return &usageError{err: errors.New("a profile and --session are two different things"), hint: "name one of them"}
			}
			wish := map[string]any{}
			for flag, value := range map[string]any{"account": account, "capacity": capacity, "budget": budget} {
				if changed(flag) {
					wish[flag] = orNull(value)
				}
			}
			switch {
			case changed("budget") && session == "":
				wish["per"] = orNull(per)
				if budget == 0 {
					wish["per"] = nil
				}
			case changed("per"):
				return &usageError{err: errors.New("--per goes with the --budget of a profile")}
			}
			if changed("hold") {
				wish["hold_s"] = hold.Seconds()
			}
			if release {
				wish["hold_s"] = nil
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			switch {
			case session != "":
				var tokens *int64
				if budget != 0 {
					tokens = &budget
				}
				return s.PutBudget(cmd.Context(), session, tokens)
			case len(wish) > 0 && len(args) == 0:
				return &usageError{err: errors.New("no profile"), hint: "worker gate PROFILE --capacity 20"}
			case len(wish) > 0:
				if err := s.PutGate(cmd.Context(), args[0], wish); err != nil {
					return err
				}
			}
			gates, err := s.Gates(cmd.Context())
			if err != nil {
				return err
			}
			return c.gateTable(gates, args, show.json)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&capacity, "capacity", 0, "turns at once, over all nodes")
	f.StringVar(&account, "account", "", "the account at the provider")
	f.Int64Var(&budget, "budget", 0, "tokens, read and written")
	f.StringVar(&per, "per", "day", "day or month, of the budget")
	f.StringVarP(&session, "session", "s", "", "the budget is this session's")
	f.DurationVar(&hold, "hold", 0, "begin no turn for so long")
	f.BoolVar(&release, "release", false, "end a hold")
	show.addFlag(f)
	return cmd
}

// orNull is nil for a zero value.
func orNull(v any) any {
	switch v {
	case "", 0, int64(0):
		return nil
	}
	return v
}

func (c *cli) gateTable(gates []store.Gate, only []string, asJSON bool) error {
	w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, "PROFILE\tACCOUNT\tRUNNING\tCAPACITY\tHELD\tBUDGET\tPAUSED")
	}
	for _, g := range gates {
		if len(only) == 1 && g.Profile != only[0] {
			continue
		}
		if asJSON {
			if err := writeJSON(c.out, g); err != nil {
				return err
			}
			continue
		}
		held, budget := "-", "-"
		if g.HeldUntil != nil {
			held = fmt.Sprintf("%s (%s)", time.Until(*g.HeldUntil).Round(time.Second), *g.HeldFor)
		}
		if g.Budget != nil {
			budget = fmt.Sprintf("%d of %d a %s", *g.Used, *g.Budget, *g.Per)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%d\n", g.Profile, or(g.Account), g.Running, or(g.Capacity), held, budget, g.Paused)
	}
	return w.Flush()
}
