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
		Short: "List the logins that are under way, without their secrets",
		Long: `List the logins that are under way, without their secrets. Column KEY says whether --login-key opens what is stored.
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
			if show.json {
				for _, l := range list {
					if err := writeJSON(c.out, l); err != nil {
						return err
					}
				}
				return nil
			}
			w := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KIND\tPROVIDER\tTARGET\tSTATE\tPOLLER\tKEY\tAGE")
			for _, l := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Kind, l.Provider, l.Target, loginState(l), or(l.Poller), keyOf(seal, l),
					time.Since(l.CreatedAt).Round(time.Second))
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

func keyOf(seal *store.Sealer, l store.ListedLogin) string {
	switch {
	case l.SealedWith == nil:
		return "-"
	case seal == nil || !seal.Has(*l.SealedWith):
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
