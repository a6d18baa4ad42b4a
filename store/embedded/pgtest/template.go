package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/towpath/towpath/store/embedded"
)

// dataTemplate is a stopped data directory that test binaries copy, since initdb takes a second. It is made once per
// user and appears whole: a rename under a lock.
func dataTemplate(ctx context.Context) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", err
	}
	version, err := embedded.Version(ctx, "")
	if err != nil {
		return "", err
	}
	template := filepath.Join(cache, fmt.Sprintf("data-%d", version))
	if _, err := os.Stat(template); err == nil {
		return template, nil
	}
	if err := makeTemplate(ctx, template+".new"); err != nil {
		return "", fmt.Errorf("make the shared data directory: %w", err)
	}
	return template, os.Rename(template+".new", template)
}

func makeTemplate(ctx context.Context, path string) error {
	if err := os.RemoveAll(path); err != nil { // an interrupted one
		return err
	}
	dir, err := makeFolder()
	if err != nil {
		return err
	}
	guard, err := startGuard(dir)
	if err != nil {
		return err
	}
	defer guard.Close()
	server, err := startIn(ctx, "", dir)
	if err != nil {
		return err
	}
	if err := server.Stop(ctx); err != nil {
		return err
	}
	return copyFolder(ctx, filepath.Join(dir, "data"), path)
}

// cacheFolder belongs to this user: in /tmp, somebody else may have made it first.
func cacheFolder() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil || os.Geteuid() == 0 { // root's home is closed to the server's user
		dir = diskFolder()
	}
	dir = filepath.Join(dir, fmt.Sprintf("towpath-pgtest-%d", os.Geteuid()))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	if !info.IsDir() || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return "", errors.New(dir + " belongs to somebody else: remove it")
	}
	return dir, os.Chmod(dir, 0o755)
}

// copyFolder keeps owners and modes, and shares blocks where the file system can.
func copyFolder(ctx context.Context, from, to string) error {
	out, err := exec.CommandContext(ctx, "cp", "-Rp", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}
