package profiles

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/towpath/towpath/hostabi"
)

const (
	wasmSuffix = ".wasm"
	tomlSuffix = ".toml"
)

var profileName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

var errName = errors.New("the file's name must be lower-case letters, digits, dots, dashes and underscores, at most 63: rename it")

// file is a module and its permit file as they were read, or what is known of them.
type file struct {
	name     string
	path     string // of the module
	wasm     []byte
	toml     []byte // nil when there are no permits
	content  content
	modified [2]time.Time

	stored      bool   // it is of the database: path is where its file would be
	permitsFrom string // what messages call the permits
}

// content tells two versions apart.
type content struct {
	wasm, toml [sha256.Size]byte
	permitted  bool // there are permits
}

// sighting is a version in time: touching a file makes another one of the same content.
type sighting struct {
	content
	modified [2]time.Time
}

func (f file) sighting() sighting { return sighting{f.content, f.modified} }

// readFiles reads a module and its permits: the file beside it, or what all nodes share.
func readFiles(path string, shared []byte) (file, error) {
	f := file{path: path, name: strings.TrimSuffix(filepath.Base(path), wasmSuffix)}
	if !profileName.MatchString(f.name) {
		return f, errName
	}
	var err error
	if f.wasm, f.modified[0], err = readBounded(path, hostabi.MaxModule); err != nil {
		return f, err
	}
	f.content.wasm = sha256.Sum256(f.wasm)
	return f, f.readPermits(shared, true)
}

// readPermits reads the permit file beside the module, and else takes those that are shared by all nodes.
func (f *file) readPermits(shared []byte, beside bool) error {
	path := permitPath(f.path)
	err := error(fs.ErrNotExist)
	if beside {
		f.toml, f.modified[1], err = readBounded(path, maxPermitFile)
	}
	f.permitsFrom = filepath.Base(path)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	case shared != nil:
		f.toml, f.permitsFrom = shared, "permits by SQL"
	default:
		f.permitsFrom = ""
	}
	f.content.permitted, f.content.toml = f.permitsFrom != "", sha256.Sum256(f.toml)
	return nil
}

func permitPath(path string) string { return strings.TrimSuffix(path, wasmSuffix) + tomlSuffix }

// parse gives the permits, with what this machine adds.
func (f file) parse() (Permits, error) {
	p, err := ParsePermits(f.permitsFrom, f.toml)
	if err != nil {
		return p, err
	}
	if p, err = p.locate(); err != nil {
		return p, fmt.Errorf("%s: %w", f.permitsFrom, err)
	}
	return p, nil
}

func readBounded(path string, limit int64) ([]byte, time.Time, error) {
	// Stat first: opening what is not a file may wait for ever.
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, time.Time{}, short(err)
	case !info.Mode().IsRegular():
		return nil, time.Time{}, errors.New("not a regular file: remove it")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, short(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, time.Time{}, short(err)
	case int64(len(b)) > limit:
		return nil, time.Time{}, fmt.Errorf("over the limit of %d KiB", limit>>10)
	}
	return b, info.ModTime(), nil
}

// short drops the path, which a Problem names already.
func short(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
