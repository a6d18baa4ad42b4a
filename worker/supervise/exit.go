package supervise

import "syscall"

// Exit is how a command ended.
type Exit struct {
	Code   int            // its exit status; 0 when a signal ended it
	Signal syscall.Signal // that ended it, or 0
	Cause  Cause          // why the guard ended it, if it did
}

// Cause says why a guard ended a command.
type Cause string

const (
	Itself  Cause = ""        // the command ended by itself
	Killed  Cause = "killed"  // Kill was called, or the worker is dead
	Starved Cause = "starved" // the worker has not fed it
)

// Status is the exit status as a shell tells it: 128 and the signal's number for a signal.
func (e Exit) Status() int {
	if e.Signal != 0 {
		return 128 + int(e.Signal)
	}
	return e.Code
}
