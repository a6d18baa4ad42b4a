//go:build unix

package engine

import (
	"fmt"
	"os"
	"syscall"
)

// hold locks a temporary directory until the file is closed: should this process be killed, whoever gets the lock knows
// that the directory is nobody's.
func hold(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return f, syscall.Flock(int(f.Fd()), syscall.LOCK_SH)
}

// private refuses a directory that others may write to or that is not ours: its files become code of this process.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("engine: cache directory: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("engine: cache directory %s has mode %#o; run chmod 0700 %s", dir, info.Mode().Perm(), dir)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() {
		return fmt.Errorf("engine: cache directory %s belongs to user %d, not to user %d who runs this; choose another", dir, owner, os.Geteuid())
	}
	return nil
}
