//go:build unix

package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// leftoverAge is how old a temporary folder must be: its owner locks it after it has made it.
const leftoverAge = 10 * time.Minute

// leftovers begin like this. Whoever makes one holds a lock on it for as long as he needs it.
var leftovers = []string{"towpath-engine-", "towpath-child-"}

// removeLeftovers removes the temporary folders of processes of ours that were killed: their locks went with them.
func removeLeftovers(dir string, age time.Duration) (n int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, e := range entries {
		for _, prefix := range leftovers {
			if e.IsDir() && strings.HasPrefix(e.Name(), prefix) {
				gone, err := removeLeftover(filepath.Join(dir, e.Name()), age)
				if gone {
					n++
				}
				errs = append(errs, err)
			}
		}
	}
	return n, errors.Join(errs...)
}

func removeLeftover(path string, age time.Duration) (bool, error) {
	// Not through a link that somebody else has put there: the folder of temporary files is everybody's.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
	if err != nil {
		return false, nil // gone, or not ours to open
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || time.Since(info.ModTime()) < age || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		return false, nil
	}
	if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		return false, nil // its owner lives, or somebody else is removing it
	}
	err = os.RemoveAll(path)
	return err == nil, err
}
