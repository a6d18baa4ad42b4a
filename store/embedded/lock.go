package embedded

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// tryLock opens path and takes its flock. The lock lives as long as any descriptor of that open file does, those that
// child processes inherit included. A held lock gives errLocked and the file's content.
func tryLock(path string) (file *os.File, content string, err error) {
	file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, os.ErrPermission) {
		return nil, "", fmt.Errorf("%w: it belongs to another user: run the worker as that user, or with a directory of its own", err)
	}
	if err != nil {
		return nil, "", err
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err != syscall.EINTR {
			break
		}
	}
	if err == nil {
		return file, "", nil
	}
	defer file.Close()
	if err != syscall.EWOULDBLOCK {
		return nil, "", fmt.Errorf("lock %s: %w", path, err)
	}
	buf := make([]byte, 32)
	n, _ := file.ReadAt(buf, 0)
	return nil, strings.TrimSpace(string(buf[:n])), errLocked
}

// release unlocks before it closes: a child that is being forked at this moment holds a copy of the descriptor.
func release(file *os.File) {
	syscall.Flock(int(file.Fd()), syscall.LOCK_UN)
	file.Close()
}

var errLocked = errors.New("locked")

// claim makes this process the owner of the directory.
func (l layout) claim() (*os.File, error) {
	file, content, err := tryLock(l.workerLock())
	if errors.Is(err, errLocked) {
		pid, _ := strconv.Atoi(content)
		return nil, &InUseError{Dir: l.dir, PID: pid}
	}
	if err != nil {
		return nil, err
	}
	pid := strconv.Itoa(os.Getpid()) + "\n"
	if err = errors.Join(file.Truncate(0), func() error { _, err := file.WriteAt([]byte(pid), 0); return err }()); err != nil {
		release(file)
		return nil, fmt.Errorf("write %s: %w", l.workerLock(), err)
	}
	return file, nil
}
