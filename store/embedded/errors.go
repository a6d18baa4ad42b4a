package embedded

import (
	"errors"
	"fmt"
)

// minMajor is the oldest server that the SQL of Towpath runs on.
const minMajor = 15

// ErrNoServer says that no usable Postgres server programs were found on this machine.
var ErrNoServer = errors.New("no Postgres 15 or newer was found: install the package postgresql (Debian, Ubuntu, Arch), " +
	"postgresql-server (Fedora, RHEL, SUSE), postgresql17 (Alpine) or postgresql@17 (Homebrew), or set DATABASE_URL")

// ErrNotRunning says that no private server runs on a data directory.
var ErrNotRunning = errors.New("no private Postgres is running")

// InUseError says that another worker owns the data directory.
type InUseError struct {
	Dir string
	PID int // 0 when the owner has not written it yet
}

func (e *InUseError) Error() string {
	who := "another worker"
	if e.PID != 0 {
		who = fmt.Sprintf("the worker with pid %d", e.PID)
	}
	return fmt.Sprintf("%s uses the data directory %s: stop it, or give this one a directory of its own", who, e.Dir)
}
