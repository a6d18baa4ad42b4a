package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// programs are the postgres and initdb of one installation.
type programs struct {
	dir   string
	major int
}

func (p programs) postgres() string { return filepath.Join(p.dir, "postgres") }
func (p programs) initdb() string   { return filepath.Join(p.dir, "initdb") }

// usualFolders are where distributions keep server programs, which most leave out of PATH.
var usualFolders = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // Fedora and RHEL from postgresql.org
	"/usr/lib/postgresql[1-9]*/bin",                      // SUSE
	"/usr/libexec/postgresql[1-9]*",                      // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",                 // macOS, Apple silicon
	"/usr/local/opt/postgresql@*/bin",                    // macOS, Intel
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",    // Homebrew on Linux
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/usr/local/pgsql/bin",                               // built from source
}

// findPrograms searches binDir, or the machine when that is empty. It takes major when that is not 0, since only the
// same major version reads a data directory, else the first that is new enough.
func findPrograms(ctx context.Context, binDir string, major int) (programs, error) {
	folders := []string{binDir}
	if binDir == "" {
		folders = machineFolders(ctx)
	}
	var found []string
	for _, dir := range folders {
		p, err := programsIn(ctx, dir)
		if err != nil {
			continue
		}
		if p.major == major || (major == 0 && p.major >= minMajor) {
			return p, nil
		}
		found = append(found, fmt.Sprintf("%d in %s", p.major, p.dir))
	}
	if major != 0 && len(found) > 0 {
		return programs{}, fmt.Errorf("it was made by Postgres %d and only that reads it, found %s: install postgresql-%d, "+
			"or move the directory away to begin anew", major, strings.Join(found, ", "), major)
	}
	if len(found) > 0 {
		return programs{}, fmt.Errorf("%w; found %s", ErrNoServer, strings.Join(found, ", "))
	}
	return programs{}, ErrNoServer
}

func machineFolders(ctx context.Context) []string {
	var folders []string
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = append(folders, filepath.Dir(path))
		}
	}
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	for _, pattern := range usualFolders {
		matches, _ := filepath.Glob(pattern)
		slices.SortFunc(matches, func(a, b string) int { return firstNumber(b) - firstNumber(a) }) // newest first
		folders = append(folders, matches...)
	}
	var distinct []string
	for _, dir := range folders {
		if !slices.Contains(distinct, dir) {
			distinct = append(distinct, dir)
		}
	}
	return distinct
}

func programsIn(ctx context.Context, dir string) (programs, error) {
	p := programs{dir: dir}
	if _, err := os.Stat(p.initdb()); err != nil {
		return p, err
	}
	out, err := exec.CommandContext(ctx, p.postgres(), "--version").Output()
	if err != nil {
		return p, err
	}
	_, version, ok := strings.Cut(string(out), ") ") // postgres (PostgreSQL) 16.4 (Debian …)
	if p.major = firstNumber(version); !ok || p.major == 0 {
		return p, errors.New("no version in " + strings.TrimSpace(string(out)))
	}
	return p, nil
}

var digits = regexp.MustCompile(`[0-9]+`)

func firstNumber(s string) int {
	n, _ := strconv.Atoi(digits.FindString(s))
	return n
}

// Version is the major version of the server that Start would use for a new directory.
func Version(ctx context.Context, binDir string) (int, error) {
	p, err := findPrograms(ctx, binDir, 0)
	if err != nil {
		return 0, fmt.Errorf("embedded: %w", err)
	}
	return p.major, nil
}
