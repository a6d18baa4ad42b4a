package embedded

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	socketPort = "5432" // a file name only: nothing listens on a network
	// maxSocketPath is macOS's limit for the path of a Unix socket; Linux takes 107.
	maxSocketPath = 103
)

// layout names the files of one Dir.
type layout struct{ dir string }

func (l layout) workerLock() string { return filepath.Join(l.dir, "worker.lock") }
func (l layout) serverLock() string { return filepath.Join(l.dir, "server.lock") }
func (l layout) data() string       { return filepath.Join(l.dir, "data") }
func (l layout) dataNew() string    { return filepath.Join(l.dir, "data.new") }
func (l layout) log() string        { return filepath.Join(l.dir, "postgres.log") }
func (l layout) pidFile() string    { return filepath.Join(l.data(), "postmaster.pid") }

// socketDir is a function of dir alone, so that every process finds the same one.
func (l layout) socketDir() string {
	dir := filepath.Join(l.dir, "socket")
	if len(socketPath(dir, socketPort)) > maxSocketPath {
		sum := sha256.Sum256([]byte(l.dir))
		dir = fmt.Sprintf("/tmp/towpath-%x", sum[:8])
	}
	return dir
}

func socketPath(dir, port string) string { return filepath.Join(dir, ".s.PGSQL."+port) }

// openLayout makes Dir. Its path is canonical, because the server's pid file is compared with it.
func openLayout(dir string) (layout, error) {
	_, err := os.Lstat(dir)
	made := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return layout{}, fmt.Errorf("make the data directory: %w", err)
	}
	if made {
		mode := os.FileMode(0o700)
		if os.Geteuid() == 0 {
			mode = 0o755 // the server's user passes through
		}
		if err := os.Chmod(dir, mode); err != nil {
			return layout{}, err
		}
	}
	dir, err = filepath.EvalSymlinks(dir)
	return layout{dir}, err
}

// makePrivate makes a 0700 folder that belongs to the server's user and refuses one that somebody else made: in /tmp
// anybody may have been there first.
func (a account) makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if !info.IsDir() || (owner != os.Geteuid() && owner != a.uid()) {
		return fmt.Errorf("%s belongs to somebody else: remove it", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return err
	}
	return a.own(dir)
}

// quoteFolder protects commas and spaces in a setting that is a list of folders.
func quoteFolder(dir string) string { return `"` + strings.ReplaceAll(dir, `"`, `""`) + `"` }
