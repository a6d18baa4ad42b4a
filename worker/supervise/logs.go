package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Streams of a daemon's output, as files are named.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// openLogs opens the files that a daemon of a name writes to. It holds them itself, so that they outlive the worker.
func openLogs(dir string) (out, errs *os.File, err error) {
	open := func(stream string) (*os.File, error) {
		return os.OpenFile(logFile(dir, stream), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	}
	if out, err = open(Stdout); err != nil {
		return nil, nil, err
	}
	if errs, err = open(Stderr); err != nil {
		out.Close()
		return nil, nil, err
	}
	return out, errs, nil
}

func logFile(dir, stream string) string { return filepath.Join(dir, stream+".log") }

// Log is a part of a daemon's output.
type Log struct {
	Data []byte
	From int64 // number of the byte before Data
	Next int64 // what to go on after
	Cut  int64 // bytes after what was asked for that are kept no more
}

// ReadLog reads what a daemon of this machine said on a stream, strictly after a number of bytes, from 0 for all that is
// kept. Numbers grow over all of the daemon's starts. It returns at most max bytes, none when there is nothing newer.
func ReadLog(dir, name, stream string, after int64, max int) (Log, error) {
	l, err := readLog(logFile(filepath.Join(dir, name), stream), after, max)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return l, fmt.Errorf("supervise: read the %s of daemon %s: %w", stream, name, err)
	}
	return l, nil
}

func readLog(path string, after int64, max int) (Log, error) {
	l := Log{From: after, Next: after}
	f, err := os.Open(path)
	if err != nil {
		return l, err
	}
	defer f.Close()
	if l.From, err = firstData(f, after); err != nil {
		return l, err
	}
	l.Cut = l.From - after
	l.Data = make([]byte, max)
	n, err := f.ReadAt(l.Data, l.From)
	l.Data, l.Next = l.Data[:n], l.From+int64(n)
	if err == io.EOF {
		err = nil
	}
	return l, err
}
