//go:build linux

package supervise

import (
	"context"
	"io"
	"os"
	"sync"
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

const lastWords = time.Second // for what a child said before its end to be read

// guarded is the child of a daemon that dies with its worker. Its output goes through the worker.
type guarded struct {
	*Child
	start uint64
	done  chan struct{}
}

func launchGuarded(ctx context.Context, s Spec, out, errs *os.File) (*guarded, error) {
	child, err := Start(ctx, s)
	if err != nil {
		return nil, err
	}
	c := &guarded{Child: child, done: make(chan struct{})}
	start, _ := startOf(child.pid)
	c.start = max(start, 1)
	var copies sync.WaitGroup
	for to, from := range map[*os.File]io.Reader{out: child.Stdout, errs: child.Stderr} {
		to, err := duplicate(to)
		if err != nil {
			child.Kill()
			<-child.Done()
			return nil, err
		}
		copies.Go(func() {
			defer to.Close()
			io.Copy(to, from)
		})
	}
	go func() {
		<-child.Done()
		copied := make(chan struct{})
		go func() { copies.Wait(); close(copied) }()
		select {
		case <-copied:
		case <-time.After(lastWords): // somebody who got away has it open
		}
		child.Kill() // frees what it holds
		<-copied
		close(c.done)
	}()
	return c, nil
}

func (c *guarded) PID() int              { return c.pid }
func (c *guarded) Start() uint64         { return c.start }
func (c *guarded) Done() <-chan struct{} { return c.done }
func (c *guarded) Kill(time.Duration)    { c.Child.Kill() }
func (c *guarded) Leave()                { c.Child.Kill() }

func (c *guarded) Exit() (code *int, signal *string) {
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

// duplicate is the same file once more, for whoever closes his own.
func duplicate(f *os.File) (*os.File, error) {
	return os.OpenFile(f.Name(), os.O_APPEND|os.O_WRONLY, 0)
}
