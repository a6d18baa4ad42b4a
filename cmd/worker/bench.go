package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/cmd/worker/bench"
)

func (c *cli) bench() *cobra.Command {
	var (
		options  bench.Options
		show     display
		markdown bool
	)
	cmd := &cobra.Command{
		Use:   "bench SUITE…",
		Short: "Measure this machine, each figure beside a baseline of the same run",
		Long: `Measure this machine, on a private Postgres in a temporary folder. Each figure stands beside a baseline of the same run;
ratio is value over baseline. Suites: ` + strings.Join(bench.Suites(), ", ") + `, or all.`,
		Args: wanted(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, suites []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			if slices.Equal(suites, []string{"all"}) {
				suites = bench.Suites()
			}
			for _, suite := range suites {
				if !slices.Contains(bench.Suites(), suite) {
					return &usageError{err: fmt.Errorf("no suite %q", suite), hint: "suites are " + strings.Join(bench.Suites(), ", ")}
				}
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
			w := tabwriter.NewWriter(c.out, 24, 0, 2, ' ', 0)
			line, missing := "%s\t%s\t%.4g\t%s\t%.4g\t%.3g\n", "%s\t%s\tnot measured: %s\n"
			switch {
			case markdown:
				line, missing = "| %s | %s | %.4g | %s | %.4g | %.3g |\n", "| %s | %s | not measured: %s | | | |\n"
				fmt.Fprintf(w, "%d processors, %s/%s, %s, worker %s.\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), version())
				fmt.Fprint(w, "| suite | name | value | unit | baseline | ratio |\n|---|---|---|---|---|---|\n")
			case !show.json:
				fmt.Fprintln(w, "SUITE\tNAME\tVALUE\tUNIT\tBASELINE\tRATIO")
			}
			for _, suite := range suites {
				over := c.busy("measuring " + suite)
				err := bench.Run(cmd.Context(), suite, options, func(r bench.Row) {
					over()
					defer func() { over = c.busy("measuring " + suite) }()
					if show.json {
						_ = writeJSON(c.out, r)
						return
					}
					if r.Missing != "" {
						fmt.Fprintf(w, missing, r.Suite, r.Name, r.Missing)
						_ = w.Flush()
						return
					}
					fmt.Fprintf(w, line, r.Suite, r.Name, r.Value, r.Unit, r.Baseline, r.Ratio)
					_ = w.Flush()
				})
				over()
				if err != nil {
					return err
				}
			}
			return w.Flush()
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&options.Turns, "turns", 0, "turns that each figure is made from; 0: 400 for turn, 2000 for guest")
	f.IntVar(&options.Kills, "kills", 0, "nodes that the suite journal kills; 0: 20")
	f.DurationVar(&options.Idle, "idle", 30*time.Second, "how long an idle node is watched")
	f.StringVar(&options.Extism, "extism", "", "folder of the module extismbench, to compare guests with Extism")
	f.StringVar(&options.Codex, "codex", "", "program of codex, for what a turn of it costs; empty: codex in PATH, if it is there")
	f.StringVar(&options.Plugin, "plugin", "", "module that the suite plugins drops; empty: a Go guest of 2 MB, built for it")
	f.IntVar(&options.Profiles, "profiles", 0, "profiles that the suite plugins loads at once; 0: 20")
	f.BoolVar(&markdown, "markdown", false, "print a table for a page")
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
