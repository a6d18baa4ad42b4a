package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/cmd/worker/prove"
)

func (c *cli) prove() *cobra.Command {
	var (
		options prove.Options
		matrix  string
		random  int
		seed    uint64
	)
	cmd := &cobra.Command{
		Use:   "prove",
		Short: "Break nodes and their database on purpose, and show that turns survive it",
		Long: `Break nodes and their database at exact points of a scripted turn, and compare what is left with a turn that nobody
disturbed. It runs nodes of its own, a provider of its own and, unless --database-url is given, servers of its own: with a
named database the faults that stop Postgres are left out. It needs the plugin deepseek.wasm. It prints a table of what
it did, and fails when anything was lost, doubled, reordered or asked again in silence.`,
		Example: `  worker prove                              each kind of point once, kill -9
  worker prove --matrix full                every call of a turn, every fault
  worker prove --random 2000 --seed 7       three nodes, many turns, faults by chance; a seed plays again
  worker prove --random 1000 --only SIGSTOP the same with one fault`,
		Args: wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			if !slices.Contains(prove.Matrices, matrix) {
				return &usageError{err: fmt.Errorf("no matrix %q", matrix), hint: "matrices are " + strings.Join(prove.Matrices, ", ")}
			}
			if random > 0 && options.Only != "" && !slices.Contains(prove.Faults, prove.Fault(options.Only)) {
				return &usageError{err: fmt.Errorf("no fault %q", options.Only), hint: "the faults are kill -9, SIGSTOP, connections and postgres"}
			}
			if options.Program, err = os.Executable(); err != nil {
				return err
			}
			if options.Plugin == "" {
				options.Plugin = filepath.Join(cfg.Plugins, "deepseek.wasm")
			}
			if _, err := os.Stat(options.Plugin); err != nil {
				return &usageError{err: fmt.Errorf("no plugin to prove with: %w", err), hint: "name deepseek.wasm with --plugin; `make build` makes it"}
			}
			options.Cache, options.PostgresBin, options.DatabaseURL = cfg.Cache, cfg.PostgresBin, cfg.DatabaseURL
			options.Out, options.Progress = c.out, c.err
			if random > 0 {
				return prove.Random(cmd.Context(), options, random, seed)
			}
			return prove.Matrix(cmd.Context(), options, matrix)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&matrix, "matrix", "reduced", "reduced or full")
	f.StringVar(&options.Only, "only", "", "only cells whose name holds this, such as \"intent 2, SIGSTOP\"; with --random: only this fault, such as SIGSTOP")
	f.IntVar(&random, "random", 0, "so many faults by chance instead of a matrix")
	f.Uint64Var(&seed, "seed", 1, "of --random")
	f.IntVar(&options.Lanes, "lanes", 2, "databases with nodes of their own, side by side")
	f.StringVar(&options.Plugin, "plugin", "", "deepseek.wasm; empty: that of the plugins folder")
	return cmd
}

// proveNode is what prove breaks.
func (c *cli) proveNode() *cobra.Command {
	return &cobra.Command{
		Use:    prove.NodeCommand,
		Hidden: true,
		Args:   wanted(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.settings.parse(c.environ)
			if err != nil {
				return err
			}
			return prove.RunNode(cmd.Context(), prove.NodeConfig{
				DatabaseURL: cfg.DatabaseURL, NodeID: cfg.NodeID, Plugins: cfg.Plugins, Cache: cfg.Cache, Logger: cfg.logger(c.err),
			})
		},
	}
}
