package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/cmd/worker/bench"
)

func (c *cli) bench() *cobra.Command {
	var (
		options bench.Options
		show    display
		limit   time.Duration
	)
	cmd := &cobra.Command{
		Use:   "bench SUITE… | all",
		Short: "Measure this machine, each figure beside a baseline of the same run",
		Long:  benchHelp(),
		Example: `  worker bench turn                    one suite
  worker bench all                     all but soak, one after the other
  worker bench all soak --json >run    all, one JSON object a line, each as soon as it is measured`,
		Args: wanted(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			suites, err := chosen(args)
			if err != nil {
				return err
			}
			if _, err := os.Stat(options.Plugin); options.Plugin != "" && err != nil {
				return &usageError{err: err, hint: "name a module with --plugin, or leave it out"}
			}
			if options.Program, err = os.Executable(); err != nil {
				return err
			}
			options.PostgresBin = cfg.PostgresBin
			if options.Codex == "" {
				options.Codex, _ = exec.LookPath("codex")
			}
			cfg.LogLevel = max(cfg.LogLevel, 4) // warnings: the figures are what counts
			options.Logger = cfg.logger(c.err)
			table := newRows(c.out, show.json)
			if len(suites) > 1 {
				return c.benchEach(cmd, options.Program, suites, limit, table.row)
			}
			over := c.busy("measuring " + suites[0].Name)
			defer func() { over() }()
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			err = bench.Run(ctx, suites[0].Name, options, func(r bench.Row) {
				over()
				table.row(r)
				over = c.busy("measuring " + r.Suite)
			})
			if cmd.Context().Err() != nil { // whatever it was doing
				return fmt.Errorf("suite %s: %w", suites[0].Name, cmd.Context().Err())
			}
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return fmt.Errorf("suite %s has not ended within %v: give it longer with --limit", suites[0].Name, limit)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.DurationVar(&limit, "limit", 40*time.Minute, "how long a suite may take; one that takes longer is ended, and the next begins")
	f.IntVar(&options.Turns, "turns", 0, "turns that each figure is made from; 0: 400 for turn, 2000 for guest")
	f.IntVar(&options.Kills, "kills", 0, "nodes that the suite journal kills; 0: 20")
	f.DurationVar(&options.Idle, "idle", 30*time.Second, "how long an idle node is watched")
	f.StringVar(&options.Extism, "extism", "", "folder of the module extismbench, to compare guests with Extism")
	f.StringVar(&options.Codex, "codex", "", "program of codex, for what a turn of it costs; empty: codex in PATH, if it is there")
	f.StringVar(&options.Plugin, "plugin", "", "module that the suite plugins drops; empty: a Go guest of 2 MB, built for it")
	f.IntVar(&options.Profiles, "profiles", 0, "profiles that the suite plugins loads at once; 0: 20")
	show.addFlag(f)
	return cmd
}

// benchQueueOnly is what bench compares an idle node with.
func (c *cli) benchQueueOnly() *cobra.Command {
	return &cobra.Command{
		Use:    bench.QueueOnly,
		Hidden: true,
		Args:   wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			return bench.RunQueueOnly(cmd.Context(), cfg.DatabaseURL, c.err)
		},
	}
}

// benchDaemon is what bench has a node keep.
func (c *cli) benchDaemon() *cobra.Command {
	return &cobra.Command{
		Use:    bench.Daemon + " PORT",
		Hidden: true,
		Args:   wanted(cobra.ExactArgs(1)),
		RunE:   func(cmd *cobra.Command, args []string) error { return bench.RunDaemon(cmd.Context(), args[0]) },
	}
}
