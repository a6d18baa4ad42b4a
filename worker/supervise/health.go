//go:build linux

package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"syscall"
	"time"
)

// probe looks at a daemon once, and hands over what it found: nil is health.
func (k *keeper) probe() {
	k.d.room <- struct{}{}
	defer func() { <-k.d.room }()
	limit := time.Duration(k.spec.Timeout)
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	var err error
	if k.spec.HealthURL != "" {
		err = k.askURL(ctx)
	} else {
		err = k.askCommand(ctx)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	k.found <- err
}

func (k *keeper) askURL(ctx context.Context) error {
	url, port, err := k.spec.probeURL(k.port)
	if err != nil {
		return err
	}
	if port != 0 {
		if err := k.listens(port); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "towpath")
	answer, err := k.d.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.CopyN(io.Discard, answer.Body, 64<<10); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("answer %d", answer.StatusCode)
	}
	return nil
}

// listens checks that it is the daemon, or what descends from it, that listens on a port.
func (k *keeper) listens(port int) error {
	all, err := k.d.listeners()
	if err != nil {
		return nil // a system that does not tell
	}
	sockets := all[port]
	switch {
	case len(sockets) == 0:
		return fmt.Errorf("nobody listens on port %d", port)
	case slices.Contains(sockets, k.socket):
		return nil
	}
	// Mostly the child itself, so that nobody else need be looked for.
	if holds(k.child.PID(), sockets) || slices.ContainsFunc(tagged(k.process), func(pid int) bool { return holds(pid, sockets) }) {
		k.socket = sockets[0]
		return nil
	}
	return fmt.Errorf("a stranger listens on port %d", port)
}

const listenersLast = 200 * time.Millisecond

// listeners are read for many probes at once.
func (d *Daemons) listeners() (map[int][]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.seenAt) < listenersLast {
		return d.sockets, nil
	}
	sockets, err := listeners()
	if err == nil {
		d.sockets, d.seenAt = sockets, time.Now()
	}
	return sockets, err
}

func (k *keeper) askCommand(ctx context.Context) error {
	path, err := program(k.spec.HealthCmd[0])
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, k.spec.HealthCmd[1:]...)
	cmd.Dir, cmd.Env = k.work, k.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd.Run()
}
