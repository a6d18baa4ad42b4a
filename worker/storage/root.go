package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

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
)

// Root is a folder of session directories. It is safe for concurrent use, also by other processes.
type Root struct {
	ID     string
	Shared bool  // every node may reach it
	Quota  int64 // bytes of a session, 0: none

	path string
	dir  *os.Root
	mu   sync.Mutex // of what is removed here
}

// Open opens a root, making it if it is not there. An existing folder that holds anything else is refused, and so is one
// that others may enter. shared says that every node reaches the same files by this path.
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
	r := &Root{Shared: shared, Quota: quota, path: path, dir: dir}
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
			return "", err
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

// Make makes a session's directory, or takes the one that is there, and returns its path.
func (r *Root) Make(session string) (string, error) {
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
