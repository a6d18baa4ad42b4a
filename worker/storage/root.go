package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	marker = ".towpath-root"
	trash  = ".trash-"
)

var (
	// ErrMoved says that a root's path leads elsewhere than when it was opened.
	ErrMoved = errors.New("the storage root was replaced or unmounted")
	// ErrQuota says that a session's files are above its quota.
	ErrQuota = errors.New("storage quota is exceeded")
	// ErrGoing says that what is removed goes as soon as nobody uses it any more: ask again.
	ErrGoing = errors.New("it is being removed")
)

// Place is where storage of one kind is made, measured and removed: a folder (Root), or a namespace of a cluster (package
// pvc). It is safe for concurrent use, also by other processes.
type Place interface {
	// At says where this is.
	At() At
	// Quota is how many bytes a session gets that asked for so many; 0: it asked for none, it has none of its own.
	Quota(asked int64) int64
	// Make makes a session's storage, or takes what is there, and returns its name.
	Make(ctx context.Context, session string, quota int64) (name string, err error)
	// Measure says what a session's storage holds.
	Measure(ctx context.Context, session string) (Measure, error)
	// Remove removes storage by its name. That there is none is no error; ErrGoing says that it goes by itself from now on.
	Remove(ctx context.Context, name string) error
	// Orphans removes what belongs to no session and is older than age, and what interrupted removals left. known says which
	// of some names belong to one. It goes on after a failure and returns all of them.
	Orphans(ctx context.Context, age time.Duration, known func(names []string) ([]string, error)) (removed int, err error)
}

// At is where storage is.
type At struct {
	Kind   string // dir or pvc
	Root   string // the id that lies in it
	Shared bool   // every node may reach it, or has no need to
}

// Root is a folder of session directories. It is safe for concurrent use, also by other processes.
type Root struct {
	ID string

	shared bool
	quota  int64 // bytes of a session, 0: none
	path   string
	dir    *os.Root
	mu     sync.Mutex // of what is removed here
}

// Open opens a root, making it if it is not there. An existing folder that holds anything else is refused, and so is one
// that others may enter. shared says that every node reaches the same files by this path. quota bounds every session's.
func Open(path string, shared bool, quota int64) (*Root, error) {
	r, err := open(path, shared, quota)
	if err != nil {
		return nil, fmt.Errorf("storage: root %s: %w", path, err)
	}
	return r, nil
}

func open(path string, shared bool, quota int64) (*Root, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("it is not an absolute path")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others may enter it (mode %04o): chmod 700", info.Mode().Perm())
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	r := &Root{shared: shared, quota: quota, path: path, dir: dir}
	if r.ID, err = r.mark(); err != nil {
		dir.Close()
		return nil, err
	}
	return r, nil
}

// mark reads the root's id, or gives it one. Any number may do so at once.
func (r *Root) mark() (string, error) {
	text, err := r.dir.ReadFile(marker)
	if errors.Is(err, fs.ErrNotExist) {
		names, err := fs.ReadDir(r.dir.FS(), ".")
		if err != nil {
			return "", err
		}
		for _, n := range names {
			if !strings.HasPrefix(n.Name(), marker) && n.Name() != "lost+found" {
				return "", fmt.Errorf("it holds %q and is no storage root: name an empty folder", n.Name())
			}
		}
		// Whole or not at all: a link does not replace the id of somebody who was faster.
		id := uuid.NewString()
		draft := marker + "-" + id
		if err := r.dir.WriteFile(draft, []byte(id+"\n"), 0o600); err != nil {
			return "", errors.Join(err, r.dir.Remove(draft))
		}
		if err := r.dir.Link(draft, marker); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		if err := r.dir.Remove(draft); err != nil {
			return "", err
		}
		return r.mark()
	}
	if err != nil {
		return "", err
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("its file %s holds no id", marker)
	}
	return id.String(), nil
}

// Close closes the root.
func (r *Root) Close() error { return r.dir.Close() }

// Check reports whether the root's path is still what was opened.
func (r *Root) Check() error {
	opened, err := r.dir.Stat(".")
	if err != nil {
		return fmt.Errorf("storage: root %s: %w", r.path, err)
	}
	now, err := os.Stat(r.path)
	if err != nil || !os.SameFile(opened, now) {
		return fmt.Errorf("storage: root %s: %w", r.path, ErrMoved)
	}
	return nil
}

// Name is the directory of a session.
func Name(session string) string {
	h := sha256.Sum256([]byte(session))
	return hex.EncodeToString(h[:16])
}

// At says where this is.
func (r *Root) At() At { return At{Kind: "dir", Root: r.ID, Shared: r.shared} }

// Quota is what was asked for, at most the root's.
func (r *Root) Quota(asked int64) int64 {
	if asked == 0 {
		return 0
	}
	return Least(asked, r.quota)
}

// Least is the smaller one of two quotas, of which 0 is none.
func Least(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Make makes a session's directory, or takes the one that is there.
func (r *Root) Make(_ context.Context, session string, _ int64) (string, error) {
	_, err := r.Dir(session)
	return Name(session), err
}

// Dir makes a session's directory, or takes the one that is there, and returns its path.
func (r *Root) Dir(session string) (string, error) {
	path, err := r.make(Name(session))
	if err != nil {
		return "", fmt.Errorf("storage: session %s: %w", session, err)
	}
	return path, nil
}

func (r *Root) make(name string) (string, error) {
	if err := r.Check(); err != nil {
		return "", err
	}
	if err := r.dir.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	info, err := r.dir.Lstat(name)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		return "", fmt.Errorf("%s is no directory", name)
	}
	if info.Mode().Perm() != 0o700 {
		if err := r.dir.Chmod(name, 0o700); err != nil {
			return "", err
		}
	}
	return filepath.Join(r.path, name), nil
}
