package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"time"
)

const pollInterval = 10 * time.Millisecond

// takeover waits until no process of an earlier server lives, asking an orphan to stop, and returns the lock that the
// next server inherits. What the dead left behind is removed.
func (l layout) takeover(ctx context.Context, log *slog.Logger) (*os.File, error) {
	escalation := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} // fast, then immediate shutdown
	next := time.Now()
	for {
		alive, _, err := tryLock(l.serverLock())
		if err == nil {
			return alive, l.clearStale()
		}
		if !errors.Is(err, errLocked) {
			return nil, err
		}
		f, serving := l.serving()
		if serving && len(escalation) > 0 && !time.Now().Before(next) {
			log.Info("stopping the server of a worker that is gone", "pid", f.pid, "signal", escalation[0].String())
			if err := syscall.Kill(f.pid, escalation[0]); err != nil && !errors.Is(err, syscall.ESRCH) {
				return nil, fmt.Errorf("stop the earlier server, pid %d: %w", f.pid, err)
			}
			escalation, next = escalation[1:], time.Now().Add(10*time.Second)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("processes of an earlier server still run on %s (postmaster.pid names %d): stop them: %w", l.dir, f.pid, ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// clearStale removes the traces of a dead server. Postgres would do so itself, unless another process now has its pid.
func (l layout) clearStale() error {
	if f, serving := l.serving(); serving {
		return fmt.Errorf("a server that no worker started, pid %d, runs on %s: stop it with pg_ctl", f.pid, l.data())
	}
	socket := socketPath(l.socketDir(), socketPort)
	for _, path := range []string{l.pidFile(), socket, socket + ".lock"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
	return nil
}
