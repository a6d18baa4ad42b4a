package store_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/store/embedded/pgtest"
)

// mutant is one way to break the rules of the database: old, which occurs once in a file below sql, becomes new, or a
// script runs. One of the tests in run must fail then.
type mutant struct {
	name           string
	file, old, new string
	sql            string
	run            string
}

// mutants are added by the files of the tests that notice them.
var mutants []mutant

// A test that passes whatever the function does asserts nothing.
func TestEveryBreakageIsNoticed(t *testing.T) {
	if os.Getenv("TOWPATH_MUTATE") == "" {
		t.Skip("takes minutes: make mutate")
	}
	server := pgtest.DSN(t, "postgres")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The tests of a mutant, on the database as the script leaves it.
	test := func(ctx context.Context, script, run, limit string) (string, error) {
		// Nobody reads how a mutant fails: the smallest way to fail is not looked for.
		cmd := exec.CommandContext(ctx, program, "-test.run", "^("+run+")$", "-test.timeout", limit, "-test.failfast", "-rapid.nofailfile", "-rapid.shrinktime=1ms",
			"-rapid.seed=1", "-prune.seed=1") // the same sequences each time: what is noticed once is noticed
		cmd.Env = append(os.Environ(), "TOWPATH_TEST_DATABASE_URL="+server, "TOWPATH_TEST_SQL="+script, "TOWPATH_MUTATE=")
		if script != "" { // whoever waits for a lock because of it fails, rather than for as long as a test may take
			cmd.Env = append(cmd.Env, "PGOPTIONS=-c lock_timeout=10s")
		}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	var all []string
	for _, m := range mutants {
		all = append(all, m.run)
	}
	if out, err := test(t.Context(), "", strings.Join(all, "|"), "8m"); err != nil {
		t.Fatalf("the tests fail by themselves:\n%s", out)
	}
	room := make(chan struct{}, 2) // each runs several tests side by side
	for _, m := range mutants {
		t.Run(strings.ReplaceAll(m.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			room <- struct{}{}
			defer func() { <-room }()
			script := filepath.Join(t.TempDir(), "mutant.sql")
			if err := os.WriteFile(script, []byte(m.script(t)), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := test(t.Context(), script, m.run, "2m")
			for try := 2; err == nil && try < 5; try++ {
				t.Logf("try %d: such a test should have two sessions, the second of which must wait for the first", try)
				out, err = test(t.Context(), script, m.run, "2m")
			}
			if err == nil {
				t.Errorf("nobody noticed: %s in %s instead of %s%s", m.new, m.file, m.old, m.sql)
			} else if !strings.Contains(out, "--- FAIL: ") && !strings.Contains(out, "panic: test timed out") || strings.Contains(out, "queuetest: ") {
				t.Errorf("the tests did not run: %v\n%s", err, out)
			}
		})
	}
}

// script is the breakage as SQL. Where it does not install, package queuetest says so.
func (m mutant) script(t *testing.T) string {
	t.Helper()
	text := m.sql
	if m.file != "" {
		b, err := os.ReadFile(filepath.Join("..", "sql", filepath.FromSlash(m.file)))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), m.old); n != 1 {
			t.Fatalf("%s has %q %d times", m.file, m.old, n)
		}
		text = strings.ReplaceAll(strings.Replace(string(b), m.old, m.new, 1), ":river", "public")
	}
	return text
}

// Each function that tests of this package call has a breakage.
func TestEveryFunctionHasABreakage(t *testing.T) {
	broken := map[string]bool{}
	for _, m := range mutants {
		broken[m.file] = true
	}
	create := regexp.MustCompile(`(?m)^create or replace function towpath\.`)
	for _, file := range owned {
		b, err := os.ReadFile(filepath.Join("..", "sql", filepath.FromSlash(file)))
		if err != nil || !create.Match(b) {
			t.Errorf("%s has no function: %v", file, err)
		}
		if !broken[file] {
			t.Errorf("no mutant breaks %s", file)
		}
	}
	var names []string
	for _, m := range mutants {
		names = append(names, m.name)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(mutants) {
		t.Error("two mutants have one name")
	}
}

// owned are the files below sql of whose functions every one must have a mutant; files of mutants add theirs.
var owned []string
