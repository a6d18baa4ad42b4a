package embedded

import (
	"errors"
	"io"
	"os"
	"strings"
	"time"
)

const (
	logLimit = 4 << 20 // bytes; twice that on disk
	logCheck = time.Minute
	tailSize = 4 << 10
)

// openLog opens the file that the server writes to directly, so that it outlives a killed worker and never waits for
// a stopped one.
func openLog(path string) (*os.File, error) {
	if err := trimLog(path, logLimit); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
}

// trimLog moves a log over limit to path.1. It copies and truncates, since the server keeps its descriptor; lines
// written in between are lost.
func trimLog(path string, limit int64) error {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() <= limit {
		return err
	}
	old, err := os.OpenFile(path+".1", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer old.Close()
	_, err = file.Seek(-min(info.Size(), logLimit), io.SeekEnd)
	if err == nil {
		_, err = io.Copy(old, io.LimitReader(file, logLimit))
	}
	return errors.Join(err, file.Truncate(0)) // a full disk is no reason to keep growing
}

// logTail is the last lines written after offset from, indented, or "".
func logTail(path string, from int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() <= from {
		return ""
	}
	from = max(from, info.Size()-tailSize)
	buf := make([]byte, info.Size()-from)
	n, _ := file.ReadAt(buf, from)
	return indent(string(buf[:n]))
}

func indent(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-12):]
	if lines[0] == "" {
		return ""
	}
	return "\n  " + strings.Join(lines, "\n  ")
}
