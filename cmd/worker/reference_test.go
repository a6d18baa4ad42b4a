package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

var (
	mdLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdCode = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
)

// Every link between pages leads somewhere.
func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	root := filepath.Join("..", "..")
	var pages []string
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*/README.md", "deploy/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	links := 0
	for _, name := range pages {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mdLink.FindAllStringSubmatch(mdCode.ReplaceAllString(string(text), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue // others' pages are not ours to check
			}
			links++
			path := name
			if target != "" {
				path = filepath.Join(filepath.Dir(name), target)
			}
			linked, err := os.ReadFile(path)
			if info, statErr := os.Stat(path); statErr != nil || !info.IsDir() && err != nil {
				t.Errorf("%s: no %s", name, target)
				continue
			}
			if anchor != "" && !hasAnchor(string(linked), anchor) {
				t.Errorf("%s: %s has no heading #%s", name, target, anchor)
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

func hasAnchor(text, anchor string) bool {
	other := regexp.MustCompile(`[^a-z0-9 _-]`)
	for _, line := range strings.Split(text, "\n") {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			if strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(heading), ""), " ", "-") == anchor {
				return true
			}
		}
	}
	return false
}
