package main

import (
	"context"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded"
)

// cli is one invocation of the program.
type cli struct {
	settings settings
	environ  []string
	in       io.Reader
	out, err io.Writer
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args, environ []string, in io.Reader, out, err io.Writer) int {
	c := &cli{settings: newSettings(), environ: environ, in: in, out: out, err: err}
	root := c.root()
	root.SetArgs(args)
	return report(err, root.ExecuteContext(ctx))
}

func (c *cli) root() *cobra.Command {
	var printDSN bool
	root := &cobra.Command{
		Use:   "worker",
		Short: "Run agent turns from Postgres",
		Long: `worker runs agent turns that are jobs in Postgres. Without a subcommand it is a node: it takes jobs from its queues
until SIGTERM. Without DATABASE_URL it starts a private Postgres first.

Every setting is a flag and the environment variable in brackets; the flag wins.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 turn cancelled, 4 turn abandoned, 5 no database, 130 interrupted.`,
		Example: `  worker                                               run a node with a private Postgres
  worker submit --profile hello --follow Ada           submit a turn and watch it
  psql "$(worker --print-dsn)"                         look at everything from SQL`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          c.noSuchCommand,
		PersistentPreRun: func(*cobra.Command, []string) {
			for _, warning := range c.settings.strangers(c.environ) {
				fmt.Fprintln(c.err, "warning:", warning)
			}
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			if printDSN {
				return c.printDSN(cfg)
			}
			return run(cmd.Context(), cfg, c.err)
		},
	}
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err: err, hint: fmt.Sprintf("see `%s -h`", cmd.CommandPath())}
	})
	root.PersistentFlags().SortFlags = false
	root.Flags().SortFlags = false
	root.Flags().BoolVar(&printDSN, "print-dsn", false, "print how to connect to the database, and do nothing else")
	c.settings.addFlags(root.PersistentFlags(), func(s *setting) bool { return s.client })
	c.settings.addFlags(root.Flags(), func(s *setting) bool { return !s.client })
	root.AddCommand(c.migrate(), c.submit(), c.events(), c.ps(), c.profiles(), c.plugin(), c.steer(), c.interrupt(), c.cancel(), c.prune(), c.gc(), c.bench(), c.benchQueueOnly(), c.benchDaemon(), c.daemon(), c.prove(), c.proveNode(), c.turn(), c.version())
	root.AddCommand(c.login(), c.logout(), c.logins(), c.doctor(), c.usage(), c.approve())
	root.AddCommand(c.top())
	root.AddCommand(c.gate())
	return root
}

func (c *cli) noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see `worker -h`"
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean `worker %s`?", near[0])
	}
	return &usageError{err: fmt.Errorf("unknown command %q", args[0]), hint: hint}
}

func (c *cli) printDSN(cfg config) error {
	dsn, err := cfg.clientDSN()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, dsn)
	return err
}

// wanted makes a failed check of arguments a usage error.
func wanted(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &usageError{err: err, hint: fmt.Sprintf("usage: %s", cmd.UseLine())}
		}
		return nil
	}
}

// clientDSN names the database for a command that does not run a node.
func (c config) clientDSN() (string, error) {
	if c.DatabaseURL != "" {
		return c.DatabaseURL, nil
	}
	return embedded.DSN(c.DataDir)
}

// session is what a client command works with.
type session struct {
	*store.Store
	config
	pool *pgxpool.Pool
}

// connect makes a client's session; close its pool.
func (c *cli) connect(ctx context.Context) (*session, error) {
	cfg, err := c.settings.parse(c.environ)
	if err != nil {
		return nil, err
	}
	dsn, err := cfg.clientDSN()
	if err != nil {
		return nil, err
	}
	pool, err := store.Open(ctx, dsn, cfg.Pooled)
	if err != nil {
		return nil, &usageError{err: err, hint: "DATABASE_URL is like postgres://user:password@host:5432/database"}
	}
	return &session{store.New(pool), cfg, pool}, nil
}

// connected is the body of a command that begins with a session.
func (c *cli) connected(do func(cmd *cobra.Command, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := c.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer s.pool.Close()
		return do(cmd, s, args)
	}
}
