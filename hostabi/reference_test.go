package hostabi

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

//go:generate go test -count=1 -run ^TestReference . -update

var update = flag.Bool("update", false, "write docs/abi.md")

// docs/abi.md is what this package says.
func TestReferenceOfTheABI(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, `# Host ABI

What a plugin imports, module `+"`%s`"+`, and what it exports. This page is generated from package [hostabi](../hostabi/doc.go). A plugin's
author calls these through an SDK: [plugins](plugins.md).

ptr, len, cap, handle and sizes are i32, times are i64 nanoseconds, text is UTF-8, structured values are JSON, all is little-endian.
A result of 0 or more is success, a negative one a negated code. A call that yields bytes returns their number and parks them; `+"`take`"+`
copies them out, and any other call drops them. A negative result parks a message for people. A pointer outside of memory traps.

## Exports of a plugin

`, Module)
	list(&b, consts(t, "names.go"), "Export", "name", "signature")
	b.WriteString("\n## Functions\n\nJournal: what is kept of a call for a replay. *intent*: on disk before anything leaves the worker; *data*: what the guest was told;\n*arguments*: their digest; –: nothing, the call does the same again.\n\n| function | means | errors | limits | journal |\n|---|---|---|---|---|\n")
	for _, f := range Functions {
		codes := make([]string, len(f.Errors))
		for i, c := range f.Errors {
			codes[i] = c.String()
		}
		fmt.Fprintf(&b, "| `%s(%s) → %s` | %s | %s | %s | %s |\n", f.Name, f.Params, f.Result, f.Means, or(strings.Join(codes, ", ")), or(f.Limit), or(f.Journal))
	}
	b.WriteString("\n## Codes\n\n")
	list(&b, consts(t, "code.go"), "E", "code", "means")
	b.WriteString("\n## Records\n\nWhat `wait` parks: u32 kind, u32 handle, i32 code, u32 flags (0), then the payload to the end.\n\n")
	list(&b, consts(t, "record.go"), "Kind", "kind", "means")
	b.WriteString("\n## Limits\n\nBytes, if nothing else is said. A profile's own may be lower.\n\n")
	list(&b, consts(t, "limits.go"), "", "limit", "of")
	b.WriteString("\n## Messages\n\n")
	messages(t, &b)
	path := filepath.Join("..", "docs", "abi.md")
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := os.ReadFile(path); err != nil || string(found) != b.String() {
		t.Errorf("%s is not what it is made from: run make generate (%v)", path, err)
	}
}

func or(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

// constant is one of the package, as its source says.
type constant struct{ name, value, means string }

func list(b *strings.Builder, all []constant, prefix, one, two string) {
	fmt.Fprintf(b, "| %s | value | %s |\n|---|---|---|\n", one, two)
	for _, c := range all {
		if strings.HasPrefix(c.name, prefix) {
			fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", c.name, c.value, strings.ReplaceAll(c.means, "|", `\|`))
		}
	}
}

func parse(t *testing.T, name string) (*ast.File, func(ast.Node) string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file, func(n ast.Node) string {
		return string(text[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset])
	}
}

func consts(t *testing.T, name string) (all []constant) {
	t.Helper()
	file, source := parse(t, name)
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, s := range group.Specs {
			v := s.(*ast.ValueSpec)
			if len(v.Values) == 1 && v.Comment != nil {
				all = append(all, constant{v.Names[0].Name, source(v.Values[0]), strings.TrimSpace(v.Comment.Text())})
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("%s has no constants with comments", name)
	}
	return all
}

// messages lists the fields of the structs that go as JSON.
func messages(t *testing.T, b *strings.Builder) {
	t.Helper()
	file, source := parse(t, "message.go")
	for _, d := range file.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.TYPE {
			continue
		}
		s := group.Specs[0].(*ast.TypeSpec)
		fmt.Fprintf(b, "### %s\n\n%s\n\n| field | type | means |\n|---|---|---|\n", s.Name.Name, strings.ReplaceAll(strings.TrimSpace(group.Doc.Text()), "\n", " "))
		for _, f := range s.Type.(*ast.StructType).Fields.List {
			_, name, _ := strings.Cut(f.Tag.Value, `json:"`)
			name, _, _ = strings.Cut(name, `"`)
			name, optional := strings.CutSuffix(name, ",omitempty")
			means := strings.TrimSpace(f.Comment.Text())
			if optional {
				means = strings.TrimSuffix("optional; "+means, "; ")
			}
			fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", name, source(f.Type), means)
		}
		b.WriteString("\n")
	}
}
