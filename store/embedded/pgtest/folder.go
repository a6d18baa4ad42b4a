package pgtest

import (
	"os"
	"syscall"
	"testing"
)

const (
	memoryFolder = "/dev/shm"
	memoryRoom   = 1 << 30 // bytes that must be free there: a database takes about 10 MB while its test runs
)

// Folder is a fresh folder for a server of the test's own. Unlike tb.TempDir, the unprivileged user that root's servers
// run as can enter it, and its path is short enough for a socket. It is removed when tb ends, after the cleanups that
// the test registers later.
func Folder(tb testing.TB) string {
	tb.Helper()
	dir, err := makeFolder()
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("pgtest: %v", err)
		}
	})
	return dir
}

func makeFolder() (string, error) {
	base := diskFolder()
	var st syscall.Statfs_t
	// Cloning a database is mostly making files: about ten times faster in memory.
	if err := syscall.Statfs(memoryFolder, &st); err == nil && st.Bavail*uint64(st.Bsize) >= memoryRoom {
		base = memoryFolder
	}
	dir, err := os.MkdirTemp(base, "towpath-pgtest-")
	if err != nil && base == memoryFolder {
		dir, err = os.MkdirTemp(diskFolder(), "towpath-pgtest-")
	}
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755) // the server's user passes through
}

// diskFolder is a temporary folder that the server's user can enter, which for root's tests rules out TMPDIR.
func diskFolder() string {
	if os.Geteuid() == 0 {
		return "/tmp"
	}
	return os.TempDir()
}
