package main

import (
	"context"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/queue/queuetest"
)

//go:generate go test -count=1 -run ^TestReference . -update

var update = flag.Bool("update", false, "write the generated pages of docs")

// page compares a page of docs with what it is made from, or writes it.
func page(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", name)
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := os.ReadFile(path); err != nil || string(found) != text {
		t.Errorf("%s is not what it is made from: run make generate (%v)", path, err)
	}
}

// docs/configuration.md lists every setting.
func TestReferenceOfTheConfiguration(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# Configuration

Every setting is an environment variable and a flag of ` + "`worker`" + `; the flag wins. Durations are like ` + "`30s`, sizes like `512MiB`" + `.
Those marked * hold for every command, the others for running a node. A profile's own settings stand in its permit file.
This page is generated.

| variable | flag | default | meaning |
|---|---|---|---|
`)
	for _, s := range newSettings() {
		star := ""
		if s.client {
			star = " *"
		}
		fallback := ""
		if s.text != "" {
			fallback = "`" + s.text + "`"
		}
		fmt.Fprintf(&b, "| `%s`%s | `--%s` | %s | %s |\n", s.env, star, s.flag, fallback, strings.ReplaceAll(s.help, "|", `\|`))
	}
	page(t, "configuration.md", b.String())
}

// docs/sql.md lists every function and view that a role may use, as the database itself describes them.
func TestReferenceOfTheSQL(t *testing.T) {
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, queuetest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	query := func(sql string, each func(cells []string)) {
		t.Helper()
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			t.Fatal(err)
		}
		table, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
			cells := make([]string, len(row.RawValues()))
			for i, raw := range row.RawValues() {
				cells[i] = string(raw)
			}
			return cells, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(table) == 0 {
			t.Fatalf("nothing to list: %s", sql)
		}
		for _, cells := range table {
			if cells[1] == "" {
				t.Errorf("%s has no comment", cells[0])
			}
			each(cells)
		}
	}
	var b strings.Builder
	b.WriteString(`# SQL reference

What a client calls, in schema ` + "`towpath`" + `. Errors carry a SQLSTATE of class TW and a hint: [sql/doc.go](../sql/doc.go) lists them. Roles in
brackets: ` + "`client`" + ` is ` + "`towpath_client`" + ` and so on. This page is generated from the comments in the database.

<!-- no block is run: they are signatures -->

## Functions

`)
	const roles = `(select string_agg(replace(r.rolname, 'towpath_', ''), ', ' order by r.rolname) from pg_roles r
		where r.rolname in ('towpath_client', 'towpath_operator', 'towpath_reader', 'towpath_worker') and %s)`
	query(`select p.proname || '(' || pg_get_function_arguments(p.oid) || ') returns ' || pg_get_function_result(p.oid),
		coalesce(obj_description(p.oid), ''), `+fmt.Sprintf(roles, "has_function_privilege(r.oid, p.oid, 'execute')")+`
		from pg_proc p where p.pronamespace = 'towpath'::regnamespace and p.proname <> 'now'
		and exists (select from pg_roles r where r.rolname in ('towpath_client', 'towpath_operator', 'towpath_reader', 'towpath_worker') and has_function_privilege(r.oid, p.oid, 'execute'))
		order by has_function_privilege('towpath_client', p.oid, 'execute') desc, p.proname, p.oid::regprocedure::text`,
		func(cells []string) {
			name, _, _ := strings.Cut(cells[0], "(")
			fmt.Fprintf(&b, "### %s\n\n```sql\n%s\n```\n\n%s [%s]\n\n", name, cells[0], cells[1], cells[2])
		})
	b.WriteString("## Views\n\n| view | columns | meaning |\n|---|---|---|\n")
	query(`select c.relname, coalesce(obj_description(c.oid), ''),
		(select string_agg(a.attname, ', ' order by a.attnum) from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped)
		from pg_class c where c.relnamespace = 'towpath'::regnamespace and c.relkind = 'v'
		and has_table_privilege('towpath_client', c.oid, 'select') order by 1`,
		func(cells []string) { fmt.Fprintf(&b, "| `towpath.%s` | %s | %s |\n", cells[0], cells[2], cells[1]) })
	b.WriteString(`
## Job kinds

Rows of ` + "`river_job`" + ` that any client may insert; ` + "`queue`" + ` may be left out.

| kind | queue | args |
|---|---|---|
| ` + "`turn`" + ` | ` + "`turns`" + ` | ` + "`profile`, `input`, `session`?, `idempotency_key`?, `options`?" + ` as ` + "`submit`" + ` takes them |
| ` + "`start`, `stop`, `restart`" + ` | ` + "`lifecycle`" + ` | ` + "`spec`" + `: the name of a registered daemon |
| ` + "`health_check`, `sweep`" + ` | ` + "`lifecycle`" + ` | none |
| ` + "`gc`, `prune`, `scan_plugins`" + ` | ` + "`gc`" + ` | none |

## Channels

| channel | payload | when |
|---|---|---|
| ` + "`towpath_events`" + ` | process ids with commas, or ` + "`*`" + ` | events were stored; ask ` + "`events`" + ` from the last seq |
| ` + "`towpath_control`" + ` | a process id, or ` + "`*`" + ` | for workers: something was said to a process |
`)
	page(t, "sql.md", b.String())
}

// logKeys are the keys that a file's calls of slog write, as far as they stand there.
func logKeys(file *ast.File) map[string]bool {
	keys := map[string]bool{}
	text := func(e ast.Expr) (string, bool) {
		literal, ok := e.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(literal.Value)
		return s, err == nil
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		args := call.Args
		switch name := method.Sel.Name; name {
		case "Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext":
			if strings.HasSuffix(name, "Context") && len(args) > 0 {
				args = args[1:]
			}
			args = args[min(1, len(args)):] // the message
		case "With":
		case "String", "Int", "Int64", "Any", "Duration", "Bool", "Time":
			if from, ok := method.X.(*ast.Ident); !ok || from.Name != "slog" || len(args) != 2 {
				return true
			}
		default:
			return true
		}
		for len(args) > 1 {
			if key, ok := text(args[0]); ok {
				keys[key] = true
				args = args[2:]
			} else {
				args = args[1:] // an attribute
			}
		}
		return true
	})
	return keys
}

// parsed hands over the files of packages that are no tests.
func parsed(t *testing.T, see func(*ast.File), folders ...string) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err == nil {
				see(file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// listed are the words in code type of the tables' given column in a part of a page, from a line to the next heading.
func listed(t *testing.T, name, from string, column int) map[string]bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(text), "\n"+from+"\n")
	if !found {
		t.Fatalf("%s has no line %q", name, from)
	}
	part, _, _ = strings.Cut(part, "\n#")
	words := map[string]bool{}
	for line := range strings.Lines(part) {
		if cells := strings.Split(line, "|"); len(cells) > column+1 {
			for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[column], -1) {
				words[m[1]] = true
			}
		}
	}
	return words
}

func same(t *testing.T, what string, page, code map[string]bool) {
	t.Helper()
	for word := range code {
		if !page[word] {
			t.Errorf("docs/operations.md does not list %s %s", what, word)
		}
	}
	for word := range page {
		if !code[word] {
			t.Errorf("docs/operations.md lists %s %s, which there is none of", what, word)
		}
	}
}

// docs/operations.md lists every key that a node logs.
func TestTheKeysOfTheLogAreListed(t *testing.T) {
	used := map[string]bool{"from": true, "trace": true, "error": true}
	parsed(t, func(file *ast.File) { maps.Copy(used, logKeys(file)) }, "cmd/worker", "queue", "store", "worker", "hostabi/engine")
	same(t, "key", listed(t, "operations.md", "<!-- keys of the log -->", 2), used)
}

// docs/operations.md says of every kind of failure what to do.
func TestEveryKindOfFailureHasItsLine(t *testing.T) {
	kinds := map[string]bool{"engine_gave_up": true, "restarts_spent": true, "plugin_result": true} // said by SQL, and in one place of turn
	parsed(t, func(file *ast.File) {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec: // Kind… and Reason… of the packages guest and engine
				for i, name := range n.Names {
					kind, reason := strings.HasPrefix(name.Name, "Kind") && typeNamed(n.Type, "Kind"), strings.HasPrefix(name.Name, "Reason") && typeNamed(n.Type, "Reason")
					if (kind || reason) && i < len(n.Values) {
						if literal, ok := n.Values[i].(*ast.BasicLit); ok {
							word, err := strconv.Unquote(literal.Value)
							if err != nil {
								t.Fatal(err)
							}
							if reason {
								word = "plugin_" + strings.ReplaceAll(word, " ", "_")
							}
							kinds[word] = true
						}
					}
				}
			case *ast.CompositeLit: // Exceeded{Limit: …}
				if name, ok := n.Type.(*ast.Ident); !ok || name.Name != "Exceeded" {
					return true
				}
				for _, e := range n.Elts {
					if pair, ok := e.(*ast.KeyValueExpr); ok && pair.Key.(*ast.Ident).Name == "Limit" {
						if literal, ok := pair.Value.(*ast.BasicLit); ok {
							word, err := strconv.Unquote(literal.Value)
							if err != nil {
								t.Fatal(err)
							}
							kinds[word] = true
						}
					}
				}
			}
			return true
		})
	}, "hostabi/guest", "hostabi/engine", "worker/turn")
	delete(kinds, "plugin_host") // trouble of a host never makes a turn failed
	delete(kinds, "plugin_deadline")
	if len(kinds) < 30 {
		t.Errorf("only %d kinds are found: %v", len(kinds), kinds)
	}
	same(t, "kind", listed(t, "operations.md", "### Turns fail", 1), kinds)
}

func typeNamed(e ast.Expr, name string) bool {
	ident, ok := e.(*ast.Ident)
	return ok && ident.Name == name
}
