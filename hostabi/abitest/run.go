package abitest

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

//go:embed golden
var golden embed.FS

var update = flag.String("abitest.update", "", "folder of golden logs that are written anew, by a host that is known to be right")

// Run runs each test of the suite as a subtest on the host, which has loaded the suite's Guest.
func (s Suite) Run(t *testing.T, host Host) {
	t.Helper()
	var all strings.Builder
	for n, test := range s.Tests {
		t.Run(test.Name, func(t *testing.T) {
			got, err := s.Check(context.Background(), n, host)
			all.WriteString(got)
			if err != nil && *update == "" {
				t.Error(err)
			}
		})
	}
	if *update != "" {
		if err := os.WriteFile(*update+"/"+s.Module+".log", []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Check runs the test with a number and gives its log. The error shows where that differs from the golden one.
func (s Suite) Check(ctx context.Context, test int, host Host) (log string, err error) {
	log = s.transcript(ctx, test, host)
	want, err := s.golden(s.Tests[test].Name)
	if err != nil {
		return log, err
	}
	if ended := strings.HasSuffix(log, theEnd); ended != s.Tests[test].Ends {
		return log, fmt.Errorf("the host ended the turn: %t, want %t\n%s", ended, s.Tests[test].Ends, log)
	}
	if log != want {
		return log, errors.New(difference(log, want))
	}
	return log, nil
}

// golden gives the log of a test.
func (s Suite) golden(test string) (string, error) {
	b, err := golden.ReadFile("golden/" + s.Module + ".log")
	if err != nil {
		return "", err
	}
	for part := range strings.SplitAfterSeq(string(b), "\n== ") {
		if name, _, _ := strings.Cut(part, "\n"); strings.TrimPrefix(name, "== ") == test {
			return "== " + strings.TrimPrefix(strings.TrimSuffix(part, "== "), "== "), nil
		}
	}
	return "", fmt.Errorf("abitest: no golden log of %s", test)
}

// difference shows a log up to the first line that differs from what was wanted.
func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	at := 0
	for at < min(len(g), len(w))-1 && g[at] == w[at] {
		at++
	}
	return strings.Join(g[:at+1], "\n") + "\n^ want: " + w[at]
}
