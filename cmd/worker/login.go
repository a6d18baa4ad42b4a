package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/login"
	"github.com/towpath/towpath/worker/profiles"
)

// loginPoll is how often the command looks at its login: nobody notifies it.
const loginPoll = 200 * time.Millisecond

func (c *cli) login() *cobra.Command {
	return &cobra.Command{
		Use:   "login PROFILE",
		Short: "Log a profile in with an account, by a code to type in elsewhere",
		Long: `Log a profile in at the provider of accounts that [login] in its permits names. Prints where to go and the code to type in
there; "worker logins" and the view towpath.logins show both too. A worker does it, in a River job of kind login; the
tokens are kept in the database, encrypted with --login-key of the workers, which renew them. In SQL: select
towpath.login_start('PROFILE').`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			id, err := s.StartLogin(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			l, err := c.followLogin(cmd.Context(), s, id)
			switch {
			case cmd.Context().Err() != nil:
				fmt.Fprintf(c.err, "the login goes on: `worker logins` shows it, `worker logout %s` ends it\n", args[0])
				return fmt.Errorf("following was interrupted: %w", context.Canceled)
			case err != nil:
				return err
			case l.State != store.LoginDone:
				return &loginError{l}
			}
			_, err = fmt.Fprintf(c.out, "%s is logged in at %s\n", l.Profile, *l.Provider)
			return err
		}),
	}
}

// followLogin shows a login until it has ended.
func (c *cli) followLogin(ctx context.Context, s *session, id string) (store.Login, error) {
	over := c.busy("waiting for a worker that works queue lifecycle")
	defer func() { over() }()
	var shown, noted string
	for {
		l, err := s.Login(ctx, id)
		if err != nil || l.Ended() {
			return l, err
		}
		if l.UserCode != nil && shown == "" {
			over()
			shown = *l.UserCode
			fmt.Fprintf(c.err, "Open %s and type in: %s\n", *l.VerificationURL, shown)
			over = c.busy("waiting for that")
		}
		if l.Detail != nil && *l.Detail != noted {
			over()
			noted = *l.Detail
			fmt.Fprintln(c.err, "trying again:", noted)
			over = c.busy("trying again")
		}
		select {
		case <-ctx.Done():
			return l, context.Cause(ctx)
		case <-time.After(loginPoll):
		}
	}
}

// loginError is a login that ended without tokens.
type loginError struct{ store.Login }

func (e *loginError) Error() string {
	text := fmt.Sprintf("the login of %s %s", e.Profile, map[string]string{store.LoginDenied: "was denied", store.LoginExpired: "has expired",
		store.LoginCancelled: "was cancelled", store.LoginFailed: "failed"}[e.State])
	if e.Detail != nil {
		text += ": " + *e.Detail
	}
	return text
}

func (e *loginError) hint() string {
	if e.State == store.LoginFailed {
		return "" // the message says it
	}
	return "run `worker login " + e.Profile + "` again"
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
			asked, err := s.CancelLogin(cmd.Context(), args[0], "somebody logged out")
			if err != nil {
				return err
			}
			if !gone && ended == 0 && !asked {
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
