package sql

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Version counts the published states of the functions: raise it with the first change below functions, river or roles.sql
// since the last one that published.txt lists; a test asks for it. A migration installs functions only when its version is
// higher than the installed one.
const Version = 7

// MinReader is the oldest Version of a worker that can run on this schema.
const MinReader = 1

//go:embed migrations/*.sql functions/*.sql river/*.sql roles.sql
var files embed.FS

// Migration is one forward step of the tables.
type Migration struct {
	Version  int
	Name     string
	SQL      string
	Checksum string // SHA-256 of SQL, hex
}

// Migrations returns the steps in order. Numbers run from 1 without gaps.
func Migrations() []Migration {
	var list []Migration
	for _, name := range names(files, "migrations") {
		text := read(name)
		number, title, _ := strings.Cut(strings.TrimSuffix(path.Base(name), ".sql"), "_")
		n, err := strconv.Atoi(number)
		if err != nil || n != len(list)+1 {
			panic(fmt.Sprintf("sql: migration %s does not follow number %d", name, len(list)))
		}
		list = append(list, Migration{Version: n, Name: title, SQL: text, Checksum: sum(text)})
	}
	return list
}

// Functions returns the script that installs every function, view, guard, trigger and grant anew, for River's tables
// in the given schema, and its checksum before the schema is filled in.
func Functions(riverSchema string) (script, checksum string) {
	var b strings.Builder
	b.WriteString("set local check_function_bodies = off;\n")
	for _, dir := range []string{"functions", "river"} {
		for _, name := range names(files, dir) {
			b.WriteString(read(name) + "\n")
		}
	}
	b.WriteString(read("roles.sql"))
	text := b.String()
	return strings.ReplaceAll(text, ":river", riverSchema), sum(text)
}

func names(f fs.FS, dir string) []string {
	found, err := fs.Glob(f, dir+"/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	slices.Sort(found)
	return found
}

func read(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the name came from the same embedded tree
	}
	return string(b)
}

func sum(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}
