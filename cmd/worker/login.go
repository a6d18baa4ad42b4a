package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/login"
	"github.com/towpath/towpath/worker/profiles"
)

func (c *cli) login() *cobra.Command {
	return &cobra.Command{
		Use:   "login PROFILE",
		Short: "Log a profile in with an account, by a code to type in elsewhere",
		Long: `Log a profile in at the provider of accounts that [login] in its permits names. Prints where to go and the code to type in
there; "worker logins" shows both meanwhile. The tokens are kept in the database, encrypted with --login-key, for all nodes
that have this key; nodes renew them.`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			seal, err := s.sealer()
			if err != nil {
				return err
			}
			if seal == nil {
				return &usageError{err: errors.New("--login-key (TOWPATH_LOGIN_KEY) is not set"), hint: "`worker logins --new-key` makes one; give it to all nodes"}
			}
			p, err := s.provider(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer p.Close()
			kept := login.Keeper{Logins: s.Logins(seal), Credentials: s.Credentials(seal)}
			if err := p.Login(cmd.Context(), kept, args[0], who(), func(o login.Offer) {
				fmt.Fprintf(c.err, "Open %s and type in: %s\n", o.URL, o.Code)
			}); err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s is logged in at %s\n", args[0], p.Issuer())
			return err
		}),
	}
}

func (c *cli) logout() *cobra.Command {
	return &cobra.Command{
		Use:   "logout PROFILE",
		Short: "Forget a profile's login, and end those under way",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			p, err := s.provider(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer p.Close()
			gone, err := s.DropCredential(cmd.Context(), args[0], p.Issuer())
			if err != nil {
				return err
			}
			// What is under way needs no key to be ended.
			ended, err := s.Logins(nil).Release(cmd.Context(), args[0], p.Issuer())
			if err != nil {
				return err
			}
			if !gone && ended == 0 {
				_, err = fmt.Fprintf(c.out, "%s was not logged in at %s\n", args[0], p.Issuer())
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s is logged out; nodes may use what they know for another minute\n", args[0])
			return err
		}),
	}
}

// provider is where a profile logs in, by the permits that this machine has for it.
func (s *session) provider(ctx context.Context, profile string) (*login.Provider, error) {
	served, err := s.servedAs(ctx, profile)
	if err != nil {
		return nil, err
	}
	from, text, err := s.permitsOf(store.Served{Name: profile, Permits: served.Permits})
	if err != nil {
		return nil, err
	}
	permits, err := profiles.ParsePermits(from, text)
	if err != nil {
		return nil, err
	}
	if permits.Login == nil {
		return nil, &usageError{err: fmt.Errorf("the permits of %s name no [login]", profile),
			hint: "add to its permit file: [login] issuer = … client_id = …; with --plugins this machine's file is read, else the permits by SQL"}
	}
	return login.New(*permits.Login)
}
