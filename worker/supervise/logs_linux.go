package supervise

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const block = 4096

// trim gives back the disk of all but the newest bytes of a log. Its writer goes on where it was: a hole has no end to
// move, so that numbers of bytes stay what they are.
func trim(path string, keep int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	hole := (info.Size() - keep) / block * block
	used := info.Sys().(*syscall.Stat_t).Blocks * 512
	if hole <= 0 || used <= 2*keep {
		return nil
	}
	return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, hole)
}

// firstData is the first byte at or after a number that is kept.
func firstData(f *os.File, after int64) (int64, error) {
	at, err := unix.Seek(int(f.Fd()), after, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // behind the end
		info, err := f.Stat()
		return max(after, info.Size()), err
	}
	return at, err
}
