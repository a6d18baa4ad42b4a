package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/towpath/towpath/cmd/worker/bench"
)

// measurer is a program that is asked for suites as bench asks itself; script says what it does for "$2", the suite.
func measurer(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "measurer")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// measuring is the command bench as somebody has typed it.
func measuring(t *testing.T, ctx context.Context, c *cli, args ...string) *cobra.Command {
	t.Helper()
	c.settings = newSettings()
	cmd := c.bench()
	cmd.SetContext(ctx)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// One suite fails, another dies without a word: both are told, and the others run.
func TestASuiteThatFailsStopsNoOther(t *testing.T) {
	program := measurer(t, `case $2 in
process) echo 'level=WARN msg=slow' >&2; echo 'error: suite process: out of disk' >&2; exit 1 ;;
guest) kill -9 $$ ;;
*) echo '{"suite":"'$2'","name":"asked","value":'$#',"unit":"'$3$4'"}' ;;
esac
`)
	var out, said bytes.Buffer
	c := &cli{out: &out, err: &said}
	suites, err := chosen([]string{"turn", "process", "guest", "journal"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.benchEach(measuring(t, t.Context(), c, "--kills", "3"), program, suites, time.Minute, newRows(&out, true).row)
	if err == nil || err.Error() != "2 of 4 suites failed: process, guest" {
		t.Errorf("it ends with %v", err)
	}
	const want = `{"suite":"turn","name":"asked","value":4,"unit":"--json--kills=3","baseline":0,"ratio":0}
{"suite":"process","name":"","value":0,"unit":"","baseline":0,"ratio":0,"missing":"suite process: out of disk"}
{"suite":"guest","name":"","value":0,"unit":"","baseline":0,"ratio":0,"missing":"signal: killed"}
{"suite":"journal","name":"asked","value":4,"unit":"--json--kills=3","baseline":0,"ratio":0}
`
	if out.String() != want {
		t.Errorf("it prints\n%swant\n%s", out.String(), want)
	}
	if !strings.HasPrefix(said.String(), "turn, process, guest, journal: about ") || !strings.Contains(said.String(), "level=WARN msg=slow\n") {
		t.Errorf("it says %s", said.String())
	}
}

// A row is handed over when it is measured, not when its suite has ended; an interrupt lets the suite that runs clean up,
// once, and begins no other.
func TestAnInterruptEndsTheSuiteThatRuns(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "cleaned")
	program := measurer(t, `trap 'echo once >>`+mark+`; exit 130' TERM
echo '{"suite":"'$2'","name":"first"}'
while :; do sleep 0.01; done
`)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var seen []string
	c := &cli{out: &bytes.Buffer{}, err: &bytes.Buffer{}}
	suites, err := chosen([]string{"all"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.benchEach(measuring(t, ctx, c), program, suites, time.Minute, func(r bench.Row) {
		seen = append(seen, r.Suite+" "+r.Name)
		interrupt()
	})
	if !errors.Is(err, context.Canceled) || exitCode(err) != exitInterrupted {
		t.Errorf("it ends with %v", err)
	}
	if got := strings.Join(seen, ", "); got != "turn first" {
		t.Errorf("rows: %s", got)
	}
	if text, err := os.ReadFile(mark); err != nil || string(text) != "once\n" {
		t.Errorf("the suite cleaned up %q (%v)", text, err)
	}
}

// all is every suite but those that are named by themselves.
func TestWhichSuitesAreChosen(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"turn", "turn"},
		{"soak", "soak"},
		{"tasks turn tasks", "turn, tasks"},
		{"all", "turn, process, guest, journal, stream, tasks, plugins, retention, daemons"},
		{"soak all", "turn, process, guest, journal, stream, tasks, plugins, retention, daemons, soak"},
	} {
		suites, err := chosen(strings.Fields(c.args))
		if got := strings.Join(names(suites), ", "); err != nil || got != c.want {
			t.Errorf("%s: %s (%v), want %s", c.args, got, err, c.want)
		}
	}
	var wrong *usageError
	if _, err := chosen([]string{"turn", "everything"}); !errors.As(err, &wrong) {
		t.Errorf("a suite that is not there: %v", err)
	}
}
