package supervise

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sweep kills every process of a session, whose leader is a child of ours that was killed and not waited for. It
// returns when they have ended; one that the kernel does not let go is left to it after a while.
func sweep(session int) {
	await(session)
	for {
		found := false
		files, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return
		}
		for _, file := range files {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil || pid == session || !belongs(pid, session) {
				continue
			}
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				continue // gone
			}
			// The number may have found a new owner between the look and the open; not after it.
			if belongs(pid, session) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil {
				found = gone(fd, killPatience) || found
			}
			unix.Close(fd)
		}
		if !found {
			return
		}
	}
}

// gone waits for the end of a process by its pidfd, and reports whether it came in time.
func gone(fd int, patience time.Duration) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		if err != unix.EINTR {
			return n > 0
		}
	}
}

// belongs reports whether a process is of a session and alive.
func belongs(pid, session int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	// After the name, which may hold anything: state, parent, group, session.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	return len(fields) > 3 && string(fields[3]) == strconv.Itoa(session) && string(fields[0]) != "Z"
}
