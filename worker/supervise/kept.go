//go:build linux

package supervise

import (
	"context"
	"time"

	"golang.org/x/sys/unix"
)

// kept is a daemon's child: free, or under a guard.
type kept interface {
	PID() int
	Start() uint64 // in the machine's ticks
	Done() <-chan struct{}
	Exit() (code *int, signal *string) // as far as it is known; after Done
	Kill(grace time.Duration)          // does not wait
	Feed(time.Duration)                // it may live for so long
	Leave()                            // it lives on without us
}

// guarded is the child of a daemon that dies with its worker.
type guarded struct {
	*Child
	start uint64
}

func launchGuarded(ctx context.Context, s Spec) (*guarded, error) {
	child, err := Start(ctx, s)
	if err != nil {
		return nil, err
	}
	start, _ := startOf(child.pid)
	return &guarded{child, max(start, 1)}, nil
}

func (c *guarded) PID() int           { return c.pid }
func (c *guarded) Start() uint64      { return c.start }
func (c *guarded) Kill(time.Duration) { c.Child.Kill() }
func (c *guarded) Leave()             { c.Child.Kill() }

func (c *guarded) Exit() (code *int, signal *string) {
	defer c.Child.Kill() // frees what it holds
	exit, err := c.Wait()
	if err != nil {
		return nil, nil
	}
	if exit.Signal != 0 {
		name := unix.SignalName(exit.Signal)
		return nil, &name
	}
	return &exit.Code, nil
}
