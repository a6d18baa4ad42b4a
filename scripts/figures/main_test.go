package main

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/towpath/towpath/cmd/worker/bench"
)

const old = "# P\n\n" + begins + "An old machine.\n\n" + head +
	"| `turn` | `submit_p50_ms` | 5 | ms | 2 | 2.5 |\n| `turn` | `gone` | 1 | ms | 2 | 0.5 |\n| `soak` | `soak_turns` | 214,100 |  |  |  |\n" + ends + "\nMore.\n"

// A suite that was measured anew has its new rows in its old place; the others keep theirs.
func TestAPageIsWritten(t *testing.T) {
	rows, err := read(strings.NewReader(`{"suite":"tasks","name":"list_per_s","value":71329.6,"unit":"1/s","baseline":1629123,"ratio":0.0437841}
{"suite":"turn","name":"submit_p50_ms","value":5.3049,"unit":"ms","baseline":0.06214,"ratio":85.37}
{"suite":"turn","name":"added_ms","value":0,"unit":"","baseline":0,"ratio":0,"missing":"no codex"}
`))
	if err != nil {
		t.Fatal(err)
	}
	const want = "# P\n\n" + begins + "This machine.\n\n" + head +
		"| `turn` | `submit_p50_ms` | 5.3 | ms | 0.0621 | 85 |\n| `turn` | `added_ms` | not measured: no codex | | | |\n" +
		"| `soak` | `soak_turns` | 214,100 |  |  |  |\n| `tasks` | `list_per_s` | 71,330 | 1/s | 1,629,000 | 0.044 |\n" + ends + "\nMore.\n"
	got, err := write(old, "This machine.", rows)
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	if again, err := write(got, "This machine.", rows); err != nil || again != want {
		t.Errorf("a second time: %v\n%s", err, again)
	}
	if _, err := write("# P\n", "", rows); err == nil {
		t.Error("a page without marks is written")
	}
}

func TestARunThatFailedIsRefused(t *testing.T) {
	for _, c := range []struct{ run, says string }{
		{`{"suite":"turn","name":"a","value":1}` + "\n" + `{"suite":"guest","name":"","missing":"out of disk"}`, "suite guest failed: out of disk"},
		{"SUITE  NAME", "invalid character"},
		{"", "no figure"},
	} {
		if _, err := read(strings.NewReader(c.run)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.run, err)
		}
	}
}

func TestNumbersAreShort(t *testing.T) {
	for _, c := range []struct {
		v      float64
		digits int
		want   string
	}{
		{0, 3, "0"}, {0.00331, 2, "0.0033"}, {5.30, 3, "5.3"}, {134.4, 3, "134"}, {134.4, 2, "130"}, {999.7, 3, "1000"}, {4759, 3, "4,759"},
		{289_312_345, 3, "289,300,000"}, {-1.7, 3, "-1.7"}, {-12_346, 3, "-12,350"}, {1e-9, 3, "0.000000001"},
	} {
		if got := number(c.v, c.digits); got != c.want {
			t.Errorf("%v: %s, want %s", c.v, got, c.want)
		}
	}
}

var cell = regexp.MustCompile("`([^`]+)`")

// The page says of each figure in its table what limits it, and has all suites.
func TestThePageSaysWhatLimitsEachFigure(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(page)))
	if err != nil {
		t.Fatal(err)
	}
	prose, rest, _ := strings.Cut(string(text), begins)
	table, _, found := strings.Cut(rest, ends)
	if !found {
		t.Fatal("the page has no marks")
	}
	limits := map[string][]string{} // patterns by suite
	for line := range strings.Lines(prose) {
		if cells := strings.Split(line, "|"); len(cells) == 5 && strings.HasPrefix(cells[1], " `") {
			suite := strings.Trim(cells[1], " `")
			for _, m := range cell.FindAllStringSubmatch(cells[2], -1) {
				limits[suite] = append(limits[suite], m[1])
			}
		}
	}
	used, measured := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 8 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		suite, name := strings.Trim(cells[1], " `"), strings.Trim(cells[2], " `")
		measured[suite] = true
		known := false
		for _, pattern := range limits[suite] {
			if ok, err := path.Match(pattern, name); err != nil {
				t.Fatal(pattern, err)
			} else if ok {
				known, used[suite+" "+pattern] = true, true
			}
		}
		if !known {
			t.Errorf("what limits %s of suite %s?", name, suite)
		}
	}
	for suite, patterns := range limits {
		for _, pattern := range patterns {
			if !used[suite+" "+pattern] {
				t.Errorf("suite %s has no figure %s", suite, pattern)
			}
		}
	}
	for _, s := range bench.Suites() {
		if !measured[s.Name] {
			t.Errorf("no figure of suite %s", s.Name)
		}
	}
}
