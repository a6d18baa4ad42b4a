package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
)

func (c *cli) logins() *cobra.Command {
	var (
		newKey bool
		show   display
	)
	cmd := &cobra.Command{
		Use:   "logins",
		Short: "List the logins that are kept, asked for and under way, without their secrets",
		Long: `List what "worker login" keeps, the logins of the last day with how they ended, and their flows that are under way: where to
go and the code to type in there, but no secret.
Column KEY says whether --login-key opens what is stored.
With --new-key: print a key for --login-key, and do nothing else.`,
		Args: wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if newKey {
				_, err := fmt.Fprintln(c.out, store.NewSealKey())
				return err
			}
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			seal, err := cfg.sealer()
			if err != nil {
				return err
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			list, err := s.ListLogins(cmd.Context())
			if err != nil {
				return err
			}
			kept, err := s.ListCredentials(cmd.Context())
			if err != nil {
				return err
			}
			asked, err := s.AskedLogins(cmd.Context())
			if err != nil {
				return err
			}
			if show.json {
				for _, l := range asked {
					if err := writeJSON(c.out, l); err != nil {
						return err
					}
				}
				for _, k := range kept {
					if err := writeJSON(c.out, k); err != nil {
						return err
					}
				}
				for _, l := range list {
					if err := writeJSON(c.out, l); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KIND\tPROVIDER\tTARGET\tSTATE\tPOLLER\tKEY\tAGE\tCODE\tURL")
			for _, k := range kept {
				fmt.Fprintf(w, "kept\t%s\t%s\t%s\t-\t%s\t%s\t-\t-\n", k.Provider, k.Target, keptState(k), keyOf(seal, &k.SealedWith),
					time.Since(k.CreatedAt).Round(time.Second))
			}
			for _, l := range asked {
				fmt.Fprintf(w, "login\t%s\t%s\t%s\t-\t-\t%s\t%s\t%s\n", or(l.Provider), l.Profile, l.State,
					time.Since(l.AskedAt).Round(time.Second), or(l.UserCode), or(l.VerificationURL))
			}
			for _, l := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Kind, l.Provider, l.Target, loginState(l), or(l.Poller), keyOf(seal, l.SealedWith),
					time.Since(l.CreatedAt).Round(time.Second), or(l.UserCode), or(l.VerificationURL))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&newKey, "new-key", false, "print a new key for --login-key")
	show.addFlag(cmd.Flags())
	return cmd
}

func loginState(l store.ListedLogin) string {
	switch {
	case l.SpentAt != nil:
		return "consumed"
	case !l.ExpiresAt.After(time.Now()):
		return "expired"
	}
	return "active"
}

func keptState(k store.ListedCredential) string {
	if k.Refused != nil {
		return "refused"
	}
	return "active"
}

func keyOf(seal *store.Sealer, id *string) string {
	switch {
	case id == nil:
		return "-"
	case seal == nil || !seal.Has(*id):
		return "unknown"
	}
	return "known"
}

// sealer has the keys of the login flows; nil without any.
func (c config) sealer() (*store.Sealer, error) {
	if c.LoginKey == "" {
		return nil, nil
	}
	seal, err := store.NewSealer(c.LoginKey)
	if err != nil {
		return nil, fmt.Errorf("--login-key (TOWPATH_LOGIN_KEY): %w; `worker logins --new-key` makes one", err)
	}
	return seal, nil
}
