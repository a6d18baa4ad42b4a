package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRowsAndTheirTests(t *testing.T) {
	const doc = "# x\n| id | feature | means | area | status |\n|---|---|---|---|---|\n"
	const test = `package x
// It starts.
//
// feature: D1 C2
func TestStart(t *testing.T) { for range []string{"D3 of a case", "no D9"} {} }
// feature: D1
func helper() {}
`
	for name, c := range map[string]struct{ doc, test, want string }{
		"all shown": {doc + "| D1 | a | m | process | owned |\n| C2 | b | m | session | owned |\n| D3 | c | m | process | owned |\n| D4 | d | m | x | later |\n| D5 | e | m | x | bench |", test, ""},
		"no test":   {doc + "| D1 | a | m | process | owned |\n| C2 | b | m | session | owned |\n| D3 | c | m | process | owned |\n| D9 | lost | m | x | owned |", test, "D9 (lost) is owned and has no test"},
		"no row":    {doc + "| D1 | a | m | process | owned |\n| C2 | b | m | session | owned |", test, "TestStart (" + "x) names D3, which is no row"},
		"status":    {doc + "| D1 | a | m | process | done |\n| C2 | b | m | s | later |\n| D3 | b | m | s | later |", test, `status "done"`},
		"twice":     {doc + "| D1 | a | m | process | later |\n| D1 | a | m | process | later |", test, "row D1 twice"},
		"broken":    {doc + "| D1 | a |", test, "not a row"},
		"empty":     {doc, test, "no rows"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range map[string]string{"docs/features.md": c.doc, "x/x_test.go": c.test} {
				path = filepath.Join(root, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var out bytes.Buffer
			err := run(root, &out)
			if c.want == "" {
				if err != nil || !strings.Contains(out.String(), "D1    TestStart (") || !strings.Contains(out.String(), "D5    worker bench") || !strings.Contains(out.String(), "not yet owned, 1 of 5") {
					t.Errorf("%v\n%s", err, out.String())
				}
				return
			}
			if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), root+string(filepath.Separator), ""), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
