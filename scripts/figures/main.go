// Figures writes what "worker bench all soak --json" printed into docs/performance.md: a row for each figure, and the machine
// that they are from, which is the one that this runs on. Rows of suites that were not measured stay as they are.
//
//	figures run.json …
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/towpath/towpath/store/embedded"
)

const page = "docs/performance.md"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(files []string) error {
	if len(files) == 0 {
		return errors.New("name the files that `worker bench all soak --json` was written to")
	}
	var rows []row
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		more, err := read(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rows = append(rows, more...)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	written, err := write(string(text), machine(), rows)
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	return os.WriteFile(page, []byte(written), 0o644)
}

// row is one figure, as bench prints it.
type row struct {
	Suite, Name, Unit      string
	Value, Baseline, Ratio float64
	Missing                string
}

// read takes the rows of a run, one object a line. A suite that was not measured to its end is refused.
func read(r io.Reader) (rows []row, err error) {
	for lines := json.NewDecoder(r); ; {
		var one row
		if err := lines.Decode(&one); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if one.Name == "" {
			return nil, fmt.Errorf("suite %s failed: %s", one.Suite, one.Missing)
		}
		rows = append(rows, one)
	}
	if len(rows) == 0 {
		return nil, errors.New("there is no figure in it")
	}
	return rows, nil
}

const (
	begins = "<!-- figures: go run ./scripts/figures writes from here -->\n"
	ends   = "<!-- to here -->\n"
	head   = "| suite | figure | value | unit | baseline | ratio |\n|---|---|---|---|---|---|\n"
)

// write puts rows between the marks of a page, suite by suite: a suite that the page has keeps its place.
func write(text, machine string, rows []row) (string, error) {
	before, rest, found := strings.Cut(text, begins)
	old, after, closed := strings.Cut(rest, ends)
	if !found || !closed {
		return "", fmt.Errorf("it has no %q and %q", strings.TrimSpace(begins), strings.TrimSpace(ends))
	}
	var order []string
	table := map[string]string{}
	put := func(suite, line string) {
		if _, seen := table[suite]; !seen {
			order = append(order, suite)
		}
		table[suite] += line
	}
	for line := range strings.Lines(old) {
		if cells := strings.Split(line, "|"); len(cells) == 8 && strings.HasPrefix(cells[1], " `") {
			put(strings.Trim(cells[1], " `"), line)
		}
	}
	fresh := map[string]bool{}
	for _, r := range rows {
		if !fresh[r.Suite] {
			fresh[r.Suite] = true
			if _, kept := table[r.Suite]; kept {
				table[r.Suite] = ""
			}
		}
		put(r.Suite, r.line())
	}
	var b strings.Builder
	b.WriteString(before + begins + machine + "\n\n" + head)
	for _, suite := range order {
		b.WriteString(table[suite])
	}
	b.WriteString(ends + after)
	return b.String(), nil
}

func (r row) line() string {
	if r.Missing != "" {
		return fmt.Sprintf("| `%s` | `%s` | not measured: %s | | | |\n", r.Suite, r.Name, r.Missing)
	}
	baseline, ratio := "", ""
	if r.Baseline != 0 {
		baseline, ratio = number(r.Baseline, 3), number(r.Ratio, 2)
	}
	return fmt.Sprintf("| `%s` | `%s` | %s | %s | %s | %s |\n", r.Suite, r.Name, number(r.Value, 3), r.Unit, baseline, ratio)
}

// number writes v with a few digits that count, four from a thousand on, where commas part the thousands.
func number(v float64, digits int) string {
	if v < 1000 && v > -1000 {
		text := strconv.FormatFloat(v, 'g', digits, 64)
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			text = strconv.FormatFloat(v, 'f', -1, 64) // never 1e+02
		}
		return text
	}
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	text := strconv.FormatFloat(rounded, 'f', 0, 64)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// machine says what this machine is.
func machine() string {
	said := fmt.Sprintf("%d processors, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, strings.Replace(runtime.Version(), "go", "Go ", 1))
	if gib := memory(); gib != "" {
		said = strings.Replace(said, ",", " and "+gib+" of memory,", 1)
	}
	if version, err := embedded.Version(context.Background(), os.Getenv("TOWPATH_POSTGRES_BIN")); err == nil {
		said += fmt.Sprintf(", Postgres %v", version)
	}
	return said + "."
}

// memory is that of this machine, where the kernel tells.
func memory() string {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			if kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64); err == nil {
				return fmt.Sprintf("%.0f GiB", kb/(1<<20))
			}
		}
	}
	return ""
}
