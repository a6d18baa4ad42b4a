package embedded

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// pidFile is what a postmaster says of itself in postmaster.pid.
type pidFile struct {
	pid       int
	data      string
	port      string
	socketDir string
	ready     bool
}

// parsePidFile reads the lines: pid, data directory, start time, port, socket folder, address, memory key, status.
// A starting server has not written all of them.
func parsePidFile(text string) (pidFile, error) {
	lines := strings.Split(text, "\n")
	for len(lines) < 8 {
		lines = append(lines, "")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(lines[0]))
	if err != nil || pid < 2 {
		return pidFile{}, errors.New("postmaster.pid names no process")
	}
	return pidFile{
		pid: pid, data: lines[1], port: strings.TrimSpace(lines[3]), socketDir: lines[4],
		ready: strings.TrimSpace(lines[7]) == "ready",
	}, nil
}

func (l layout) readPidFile() (pidFile, error) {
	text, err := os.ReadFile(l.pidFile())
	if err != nil {
		return pidFile{}, err
	}
	return parsePidFile(string(text))
}

// serving reports the postmaster of this directory when its socket answers: only a living postmaster listens, and it
// alone writes the file, so the pid is its own.
func (l layout) serving() (pidFile, bool) {
	f, err := l.readPidFile()
	if err != nil || f.data != l.data() || f.socketDir == "" {
		return f, false
	}
	conn, err := net.DialTimeout("unix", socketPath(f.socketDir, f.port), time.Second)
	if err != nil {
		return f, false
	}
	conn.Close()
	return f, true
}
