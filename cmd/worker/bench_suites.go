package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/towpath/towpath/cmd/worker/bench"
)

// benchHelp lists the suites and how long each takes.
func benchHelp() string {
	var b strings.Builder
	b.WriteString(`Measure this machine, on a private Postgres in a temporary folder. Each figure stands beside a baseline of the same run;
ratio is value over baseline. Several suites run one after the other, each in a process of its own. One that fails is told,
and the next begins; the exit code is 1 then. On two processors and with the defaults they take about:

`)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	var all time.Duration
	for _, s := range bench.Suites() {
		if s.Alone {
			continue
		}
		all += s.Takes
		fmt.Fprintf(w, "  %s\t%s\t%s\n", s.Name, about(s.Takes), s.What)
	}
	fmt.Fprintf(w, "  all\t%s\tthe suites above\n", about(all))
	for _, s := range bench.Suites() {
		if s.Alone {
			fmt.Fprintf(w, "  %s\t%s\t%s; no part of all, name it too\n", s.Name, about(s.Takes), s.What)
		}
	}
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

func about(d time.Duration) string {
	if d < 2*time.Minute {
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

// chosen are the suites that arguments name, each once, in the order of the list.
func chosen(args []string) ([]bench.Suite, error) {
	suites := bench.Suites()
	for _, arg := range args {
		if arg != "all" && !slices.ContainsFunc(suites, func(s bench.Suite) bool { return s.Name == arg }) {
			return nil, &usageError{err: fmt.Errorf("no suite %q", arg), hint: "suites are " + strings.Join(names(suites), ", ") + ", or all"}
		}
	}
	return slices.DeleteFunc(suites, func(s bench.Suite) bool {
		return !slices.Contains(args, s.Name) && (s.Alone || !slices.Contains(args, "all"))
	}), nil
}

func names(suites []bench.Suite) (list []string) {
	for _, s := range suites {
		list = append(list, s.Name)
	}
	return list
}

// benchEach runs suites one after the other, each in a process of its own: memory, threads and warm caches of one are no
// part of the next one's figures. A suite that fails stops no other; an interrupt ends the one that runs and all after it.
func (c *cli) benchEach(cmd *cobra.Command, program string, suites []bench.Suite, limit time.Duration, emit func(bench.Row)) error {
	flags := []string{"--json"}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "json" {
			flags = append(flags, "--"+f.Name+"="+f.Value.String())
		}
	})
	var all time.Duration
	for _, s := range suites {
		all += s.Takes
	}
	fmt.Fprintf(c.err, "%s: about %s\n", strings.Join(names(suites), ", "), about(all))
	var failed []string
	for _, s := range suites {
		err := c.benchOne(cmd.Context(), s.Name, limit, program, append([]string{"bench", s.Name}, flags...), emit)
		if cmd.Context().Err() != nil {
			return fmt.Errorf("suite %s: %w", s.Name, cmd.Context().Err())
		}
		if err != nil {
			emit(bench.Row{Suite: s.Name, Missing: err.Error()})
			failed = append(failed, s.Name)
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d suites failed: %s", len(failed), len(suites), strings.Join(failed, ", "))
	}
	return nil
}

// benchOne runs one suite in a process of its own, which keeps to limit by itself, and hands over its rows as they come.
func (c *cli) benchOne(ctx context.Context, suite string, limit time.Duration, program string, args []string, emit func(bench.Row)) error {
	ctx, cancel := context.WithTimeout(ctx, limit+time.Minute)
	defer cancel()
	var said bytes.Buffer
	child := exec.CommandContext(ctx, program, args...)
	child.Stderr = io.MultiWriter(c.err, &said)
	child.Env = c.environ
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt from the terminal comes through us, once
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = time.Minute
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	over := c.busy("measuring " + suite)
	for rows := json.NewDecoder(out); ; {
		var r bench.Row
		if err = rows.Decode(&r); err != nil {
			break
		}
		over()
		emit(r)
		over = c.busy("measuring " + suite)
	}
	over()
	if err == io.EOF {
		err = nil
	} else {
		_, _ = io.Copy(io.Discard, out)
	}
	return errors.Join(err, reason(child.Wait(), said.String()))
}

// reason is why a child failed, in its own words where it left any.
func reason(err error, said string) error {
	if err == nil {
		return nil
	}
	for line := range strings.Lines(said) {
		if text, ok := strings.CutPrefix(line, "error: "); ok {
			return errors.New(strings.TrimSpace(text))
		}
	}
	return err
}

// rows prints figures as they come: as JSON, or as a table.
type rows struct {
	out  io.Writer
	json bool
	tabs *tabwriter.Writer
}

func newRows(out io.Writer, json bool) *rows {
	t := &rows{out, json, tabwriter.NewWriter(out, 24, 0, 2, ' ', 0)}
	if !json {
		fmt.Fprintln(t.tabs, "SUITE\tNAME\tVALUE\tUNIT\tBASELINE\tRATIO")
	}
	return t
}

func (t *rows) row(r bench.Row) {
	switch {
	case t.json:
		_ = writeJSON(t.out, r)
		return
	case r.Missing != "":
		fmt.Fprintf(t.tabs, "%s\t%s\tnot measured: %s\n", r.Suite, r.Name, r.Missing)
	default:
		fmt.Fprintf(t.tabs, "%s\t%s\t%.4g\t%s\t%.4g\t%.3g\n", r.Suite, r.Name, r.Value, r.Unit, r.Baseline, r.Ratio)
	}
	_ = t.tabs.Flush()
}
