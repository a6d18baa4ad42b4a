// Package languages holds the SDKs of languages other than Go, each one file, with two plugins in each language, and makes
// new projects of them. README.md shows how to build and run them.
package languages

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Languages that a project can be made for.
var Languages = []string{"go", "c", "rust", "assemblyscript"}

//go:embed c/towpath.h c/hello.c rust/towpath.rs rust/hello.rs assemblyscript/towpath.ts assemblyscript/hello.ts project
var files embed.FS

// parts of a project: its file, and the one here that it is a copy of. NAME is the project's.
var parts = map[string]map[string]string{
	"go":             {"main.go": "project/main.go.txt", "go.mod": "project/go.mod.txt", "Makefile": "project/go.mk"},
	"c":              {"NAME.c": "c/hello.c", "towpath.h": "c/towpath.h", "Makefile": "project/c.mk"},
	"rust":           {"NAME.rs": "rust/hello.rs", "towpath.rs": "rust/towpath.rs", "Makefile": "project/rust.mk"},
	"assemblyscript": {"NAME.ts": "assemblyscript/hello.ts", "towpath.ts": "assemblyscript/towpath.ts", "Makefile": "project/assemblyscript.mk"},
}

// New makes a project in a folder that is empty or not there: a plugin that greets, and a Makefile that builds NAME.wasm.
func New(language, dir, name string) error {
	project := parts[language]
	if project == nil {
		return fmt.Errorf("no language %q: known are %s", language, strings.Join(Languages, ", "))
	}
	if there, err := os.ReadDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if len(there) > 0 {
		return fmt.Errorf("%s is not empty: name another folder", dir)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(project)) {
		text, err := files.ReadFile(project[file])
		if err != nil {
			return err
		}
		said := strings.NewReplacer("@NAME@", name, `"hello"`, `"`+name+`"`, `\"hello\"`, `\"`+name+`\"`).Replace(string(text))
		if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(file, "NAME", name)), []byte(said), 0o644); err != nil {
			return err
		}
	}
	return nil
}
