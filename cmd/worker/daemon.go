package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
	"github.com/towpath/towpath/worker/supervise"
)

func (c *cli) daemon() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "daemon",
		Short: "Start, stop and look at the daemons that an operator has registered",
		Args:  c.noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.daemonStart(), c.daemonStop(), c.daemonRestart(), c.daemonStatus(), c.daemonLogs(), c.daemonSpec(), c.daemonForget())
	return cmd
}

// ask is what the commands that change a daemon have in common.
type ask struct {
	session string
	wait    time.Duration
}

func (c *cli) asking(use, short string, a *ask, do func(cmd *cobra.Command, s *session, name string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			return do(cmd, s, args[0])
		}),
	}
	cmd.Flags().StringVarP(&a.session, "session", "s", "", "the session that owns it")
	cmd.Flags().DurationVar(&a.wait, "wait", 30*time.Second, "how long to wait for the result; 0 does not")
	return cmd
}

// becomes waits until a daemon's process has come to something, and prints the state.
func (c *cli) becomes(cmd *cobra.Command, s *session, name string, wait time.Duration, done ...string) error {
	var last store.Daemon
	if wait > 0 {
		over := c.busy("waiting for daemon " + name)
		_, err := worker.AwaitDaemon(cmd.Context(), s.Store, name, wait, func(d store.Daemon) bool {
			last = d
			return slices.Contains(done, d.State) || d.State == "failed"
		})
		over()
		if err != nil {
			hint := "see `worker daemon status " + name + "`; is a node running that works queue lifecycle?"
			return &daemonError{err: err, text: hint}
		}
	} else if d, err := s.Daemon(cmd.Context(), name); err == nil {
		last = d
	}
	if wait > 0 && last.State == "failed" && !slices.Contains(done, "failed") {
		return &daemonError{err: fmt.Errorf("daemon %s failed: %s", name, last.Outcome), text: "see `worker daemon logs " + name + "`"}
	}
	_, err := fmt.Fprintln(c.out, last.State)
	return err
}

// daemonError is a daemon that did not become what it should, with what to do about it.
type daemonError struct {
	err  error
	text string
}

func (e *daemonError) Error() string { return e.err.Error() }
func (e *daemonError) Unwrap() error { return e.err }

func (c *cli) daemonStart() *cobra.Command {
	var a ask
	return c.asking("start NAME", "Start a daemon, and wait until it is ready", &a, func(cmd *cobra.Command, s *session, name string) error {
		if _, err := s.StartDaemon(cmd.Context(), name, a.session, ""); err != nil {
			return err
		}
		return c.becomes(cmd, s, name, a.wait, "running")
	})
}

func (c *cli) daemonRestart() *cobra.Command {
	var a ask
	return c.asking("restart NAME", "Replace a daemon's child, or start a daemon that does not run", &a, func(cmd *cobra.Command, s *session, name string) error {
		before, err := s.Daemon(cmd.Context(), name)
		if err != nil {
			return err
		}
		if _, err := s.RestartDaemon(cmd.Context(), name, a.session, ""); err != nil {
			return err
		}
		if a.wait > 0 && before.State == "running" {
			over := c.busy("waiting for daemon " + name)
			_, err := worker.AwaitDaemon(cmd.Context(), s.Store, name, a.wait, func(d store.Daemon) bool { return *d.Attempt > *before.Attempt || d.State == "failed" })
			over()
			if err != nil {
				return err
			}
		}
		return c.becomes(cmd, s, name, a.wait, "running")
	})
}

func (c *cli) daemonStop() *cobra.Command {
	var a ask
	return c.asking("stop NAME", "Stop a daemon, and wait until it has ended", &a, func(cmd *cobra.Command, s *session, name string) error {
		state, err := s.StopDaemon(cmd.Context(), name, a.session, "")
		if err != nil {
			return err
		}
		if state == "unknown" {
			return &daemonError{err: fmt.Errorf("daemon %s may be running on a machine whose worker is gone; it ends when one is started there", name),
				text: "if that machine is gone for good: `worker daemon forget " + name + "`"}
		}
		return c.becomes(cmd, s, name, a.wait, "stopped", "exited", "failed")
	})
}

func (c *cli) daemonForget() *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME",
		Short: "Say, as an operator, that a daemon whose worker is gone is dead, so that another machine may start it",
		Args:  wanted(cobra.ExactArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			d, err := s.Daemon(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if d.State != "unknown" || d.FinalizedAt != nil {
				return &daemonError{err: fmt.Errorf("daemon %s is %s", d.Name, d.State), text: "only one whose worker is gone can be forgotten"}
			}
			if err := s.Resume(cmd.Context(), *d.Process); err != nil {
				return err
			}
			return c.becomes(cmd, s, args[0], 0)
		}),
	}
}

func (c *cli) daemonStatus() *cobra.Command {
	var show display
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "List the daemons, or show one",
		Args:  wanted(cobra.MaximumNArgs(1)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			list, err := make([]store.Daemon, 1), error(nil)
			if len(args) == 1 {
				list[0], err = s.Daemon(cmd.Context(), args[0])
			} else {
				list, err = s.Daemons(cmd.Context())
			}
			if err != nil {
				return err
			}
			if show.json {
				for _, d := range list {
					if err := writeJSON(c.out, d); err != nil {
						return err
					}
				}
				return nil
			}
			return daemonTable(c.out, list)
		}),
	}
	show.addFlag(cmd.Flags())
	return cmd
}

func daemonTable(out io.Writer, list []store.Daemon) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tHEALTH\tPID\tPORT\tNODE\tSESSION\tRESTARTS\tLAST END")
	for _, d := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s/%s\t%s\n", d.Name, d.State, or(d.Health), or(d.PID), or(d.Port), or(d.Node), or(d.Session),
			or(d.Restarts), or(d.MaxRestarts), or(d.LastEnd))
	}
	return w.Flush()
}

func (c *cli) daemonLogs() *cobra.Command {
	var (
		after  int64
		stderr bool
	)
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print what a daemon of this machine has said",
		Long: `Print what a daemon of this machine has said on standard output. Bytes are numbered over all its starts; what is older than
the limit of its spec is kept no more, and how much of what was asked for that is goes to standard error.`,
		Args: wanted(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if after < 0 {
				return &usageError{err: errNegativeAfter}
			}
			s, err := c.connect(cmd.Context())
			if err != nil {
				return err
			}
			defer s.pool.Close()
			if _, err := s.Daemon(cmd.Context(), args[0]); err != nil {
				return err // an unknown name is no path
			}
			stream := supervise.Stdout
			if stderr {
				stream = supervise.Stderr
			}
			for {
				l, err := supervise.ReadLog(s.DaemonDir, args[0], stream, after, 1<<20)
				if errors.Is(err, os.ErrPermission) {
					return &daemonError{err: err, text: "logs belong to the user of the worker"}
				}
				if err != nil {
					return err
				}
				if l.Cut > 0 {
					fmt.Fprintf(c.err, "%d bytes after %d are kept no more\n", l.Cut, after)
				}
				if len(l.Data) == 0 {
					return nil
				}
				if _, err := c.out.Write(l.Data); err != nil {
					return err
				}
				after = l.Next
			}
		},
	}
	cmd.Flags().Int64Var(&after, "after", 0, "only what follows this many bytes")
	cmd.Flags().BoolVar(&stderr, "stderr", false, "what it said on standard error")
	return cmd
}

func (c *cli) daemonSpec() *cobra.Command {
	var remove bool
	cmd := &cobra.Command{
		Use:   "spec [NAME [FILE]]",
		Short: "As an operator, print the specs, print one, or register one from a JSON file (- is standard input)",
		Long: `Without a file, print the specs as JSON, one a line. With one, register a daemon: clients start it by its name.
The comment of towpath.spec_put lists the keys of a spec; {"command": "redis-server", "port_flag": "--port", "port": 6379} is one.`,
		Args: wanted(cobra.MaximumNArgs(2)),
		RunE: c.connected(func(cmd *cobra.Command, s *session, args []string) error {
			switch {
			case remove && len(args) == 1:
				gone, err := s.DeleteSpec(cmd.Context(), args[0])
				if err == nil && !gone {
					err = &usageError{err: fmt.Errorf("no daemon %q", args[0])}
				}
				return err
			case len(args) == 2:
				spec, err := c.read(args[1])
				if err != nil {
					return &usageError{err: err}
				}
				if !json.Valid(spec) {
					return &usageError{err: fmt.Errorf("%s is not JSON", args[1])}
				}
				return s.PutSpec(cmd.Context(), args[0], spec)
			}
			list, err := s.Specs(cmd.Context())
			if err != nil {
				return err
			}
			for _, spec := range list {
				if len(args) == 0 || spec.Name == args[0] {
					if err := writeJSON(c.out, spec); err != nil {
						return err
					}
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&remove, "remove", false, "forget the daemon, which must not run")
	return cmd
}

// read reads a file, or standard input.
func (c *cli) read(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(c.in)
	}
	return os.ReadFile(path)
}
