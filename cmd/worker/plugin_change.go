package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/profiles"
)

func (c *cli) pluginAdd() *cobra.Command {
	var name string
	var replay int
	cmd := &cobra.Command{
		Use:   "add FILE",
		Short: "Serve a module as a profile on all nodes, now",
		Long: `Serve a module as a profile on all nodes, now. New turns take it; turns that run keep the module that they began with.
A permit file beside FILE is not taken along: permits are each operator's, by "worker plugin permit" or in a node's folder.`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := readPlugin(args[0])
			if err != nil {
				return err
			}
			if name != "" {
				f.name = name
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			return c.add(cmd.Context(), s, f, replay)
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name of the profile; default: the file's")
	cmd.Flags().IntVar(&replay, "replay", 0, "first run the last so many turns of the profile again from their journals, and refuse a module that does something else")
	return cmd
}

func (c *cli) add(ctx context.Context, s *session, f pluginFile, replay int) error {
	served, err := s.servedAs(ctx, f.name)
	if err != nil {
		return err
	}
	from, permits := "", []byte(nil)
	if served.Permits != nil {
		from, permits = "permits by SQL", []byte(*served.Permits)
	}
	seed, err := s.Seed(ctx)
	if err != nil {
		return err
	}
	p, done, err := c.loaded(ctx, s.config, seed, f, from, permits)
	if err != nil {
		return err
	}
	defer done()
	if replay > 0 && served.Digest != "" {
		over := c.busy("running turns again")
		n, err := worker.CheckUpgrade(ctx, s.Store, seed, p, replay)
		over()
		if err != nil {
			return err
		}
		fmt.Fprintf(c.out, "%d turns of %s run alike\n", n, f.name)
	}
	row, err := worker.Row(p)
	if err != nil {
		return err
	}
	if _, err := s.PutPlugin(ctx, store.Plugin{Profile: row, Module: f.wasm, Who: who(), Again: true}); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s version %s is served, digest %.12s\n", f.name, p.Manifest.Version, p.Digest)
	r, err := profiles.NewReport(f.name, f.digest, p.Manifest, from, permits)
	for _, l := range r.Lines {
		if l.Missing {
			fmt.Fprintf(c.err, "warning: it requests %s (%s), and less is permitted by SQL: `worker plugin permit %s FILE`, or a file on each node\n", l.What, l.Requested, f.name)
		}
	}
	return err
}

// servedAs finds a profile; one that nobody has added yet is empty but for permits that were given in advance.
func (s *session) servedAs(ctx context.Context, name string) (store.Served, error) {
	list, err := s.Store.Plugins(ctx)
	if err != nil {
		return store.Served{}, err
	}
	for _, p := range list {
		if p.Name == name {
			return p, nil
		}
	}
	permits, err := s.Permits(ctx)
	for _, p := range permits {
		if p.Profile == name {
			return store.Served{Name: name, Permits: &p.Body, PermitsBy: &p.ChangedBy}, nil
		}
	}
	return store.Served{Name: name}, err
}

func (c *cli) pluginRm() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME",
		Short: "Serve a profile no more: new turns are refused, running ones end as they would",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			gone, err := s.RemovePlugin(cmd.Context(), args[0], who(), "")
			if err != nil {
				return err
			}
			if !gone {
				_, err = fmt.Fprintf(c.out, "%s was removed before\n", args[0])
				return err
			}
			_, err = fmt.Fprintf(c.out, "%s is removed; `worker plugin add` serves it again\n", args[0])
			return err
		}),
	}
}

func (c *cli) pluginPermit() *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use:   "permit NAME [FILE]",
		Short: "Permit a profile what a permit file says, on every node that has no file of its own for it",
		Long: `Permit a profile what a permit file says, on every node that has no file of its own for it. "-" reads standard input;
without FILE the permits by SQL are printed.`,
		Args: wanted(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if none && len(args) == 2 {
				return &usageError{err: errors.New("--none and a file"), hint: "pass one of the two"}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			switch {
			case none:
				if err := s.Permit(cmd.Context(), args[0], nil, who()); err != nil {
					return err
				}
				_, err = fmt.Fprintf(c.out, "%s has no permits by SQL\n", args[0])
				return err
			case len(args) == 1:
				served, err := s.servedAs(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if served.Permits == nil {
					_, err = fmt.Fprintf(c.out, "# %s has no permits by SQL\n", args[0])
					return err
				}
				_, err = io.WriteString(c.out, *served.Permits)
				return err
			}
			return c.permit(cmd.Context(), s, args[0], args[1])
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "take back what was permitted by SQL")
	return cmd
}

func (c *cli) permit(ctx context.Context, s *session, name, file string) error {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(io.LimitReader(c.in, 1<<20))
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return &usageError{err: err}
	}
	if _, err := profiles.ParsePermits(file, text); err != nil {
		return err
	}
	body := string(text)
	if err := s.Permit(ctx, name, &body, who()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "%s has these permits on every node without a file of its own for it\n", name)
	return err
}

func (c *cli) pluginLogs() *cobra.Command {
	var show display
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what became of a profile on each node, and what its guests warned of",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			for after := int64(0); ; {
				list, err := s.PluginLines(cmd.Context(), args[0], after, 500)
				if err != nil {
					return err
				}
				for _, l := range list {
					if after = l.ID; show.json {
						err = writeJSON(c.out, l)
					} else {
						_, err = fmt.Fprintf(c.out, "%s  %-5s  %s  %s\n", l.At.Local().Format("2006-01-02 15:04:05"), l.Level, l.Node, l.Line)
					}
					if err != nil {
						return err
					}
				}
				if !follow {
					return nil
				}
				select {
				case <-cmd.Context().Done():
					return cmd.Context().Err()
				case <-time.After(time.Second):
				}
			}
		}),
	}
	show.addFlag(cmd.Flags())
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	return cmd
}
