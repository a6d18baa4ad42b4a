// Features lists which test shows which row of docs/features.md, and fails when a row that is owned has none.
//
//	go run ./scripts/features [folder]
//
// A test claims rows on a line "feature: D1 D2" of its doc comment, or by a string literal in it that begins with ids, such
// as the name of a case: "D4 id with #".
package main

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	if err := run(root, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "features:", err)
		os.Exit(1)
	}
}

type row struct{ id, title, area, status string }

func run(root string, out io.Writer) error {
	rows, err := readRows(filepath.Join(root, "docs", "features.md"))
	if err != nil {
		return err
	}
	tests, err := readTests(root)
	if err != nil {
		return err
	}
	var wrong []string
	later := 0
	for _, r := range rows {
		shown := tests[r.id]
		delete(tests, r.id)
		switch r.status {
		case "owned":
			fmt.Fprintf(out, "%-5s %s\n", r.id, strings.Join(shown, "\n      "))
			if len(shown) == 0 {
				wrong = append(wrong, fmt.Sprintf("%s (%s) is owned and has no test", r.id, r.title))
			}
		case "bench":
			fmt.Fprintf(out, "%-5s worker bench\n", r.id)
		case "later":
			later++
			if len(shown) > 0 {
				fmt.Fprintf(out, "%-5s not yet owned, but shown by %s\n", r.id, strings.Join(shown, ", "))
			}
		default:
			wrong = append(wrong, fmt.Sprintf("%s has status %q: owned, bench or later", r.id, r.status))
		}
	}
	fmt.Fprintf(out, "\nnot yet owned, %d of %d:\n", later, len(rows))
	for _, r := range rows {
		if r.status == "later" {
			fmt.Fprintf(out, "%-5s %-12s %s\n", r.id, r.area, r.title)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(tests)) {
		wrong = append(wrong, fmt.Sprintf("%s names %s, which is no row", strings.Join(tests[id], ", "), id))
	}
	if len(wrong) > 0 {
		return fmt.Errorf("\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

var rowLine = regexp.MustCompile(`^\| ([A-D][0-9]+) \| (.*?) \|.*\| ([a-z]+) \| ([a-z]+) \|$`)

func readRows(path string) ([]row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []row
	seen := map[string]bool{}
	for s := bufio.NewScanner(f); s.Scan(); {
		m := rowLine.FindStringSubmatch(s.Text())
		if m == nil {
			if strings.HasPrefix(s.Text(), "| C") || strings.HasPrefix(s.Text(), "| D") {
				return nil, fmt.Errorf("%s: not a row: %s", path, s.Text())
			}
			continue
		}
		if seen[m[1]] {
			return nil, fmt.Errorf("%s: row %s twice", path, m[1])
		}
		seen[m[1]] = true
		rows = append(rows, row{m[1], m[2], m[3], m[4]})
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s has no rows", path)
	}
	return rows, nil
}

var (
	docLine = regexp.MustCompile(`(?m)^feature:((?: [A-D][0-9]+)+)$`)
	prefix  = regexp.MustCompile(`^((?:[A-D][0-9]+ )+)`)
)

// readTests maps ids to the tests that name them.
func readTests(root string) (map[string][]string, error) {
	tests := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "features"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "Test") && !strings.HasPrefix(f.Name.Name, "Fuzz") {
				continue
			}
			name := fmt.Sprintf("%s (%s)", f.Name.Name, filepath.Dir(path))
			for _, id := range named(f) {
				if !slices.Contains(tests[id], name) {
					tests[id] = append(tests[id], name)
				}
			}
		}
		return nil
	})
	return tests, err
}

func named(f *ast.FuncDecl) []string {
	var ids []string
	for _, m := range docLine.FindAllStringSubmatch(f.Doc.Text(), -1) {
		ids = append(ids, strings.Fields(m[1])...)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if text, err := strconv.Unquote(lit.Value); err == nil {
				ids = append(ids, strings.Fields(prefix.FindString(text))...)
			}
		}
		return true
	})
	return ids
}
