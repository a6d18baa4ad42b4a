package supervise

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// readyAfter is how long after a start the next guard is made ready: not while the command that was started needs the
// processors itself.
const readyAfter = time.Second

// Guards starts children as Start does, under a guard that stands ready: to bring up this program takes longer than to
// bring up a command. The first child has no such guard, nor has one that comes before the next is ready. The zero value
// is for use, by any goroutine; Close it in the end.
type Guards struct {
	mu     sync.Mutex
	ready  *Child // its guard waits for an order
	refill *time.Timer
	closed bool
}

// Start is the function Start.
func (g *Guards) Start(ctx context.Context, s Spec) (*Child, error) {
	ready := g.take(s)
	defer g.later()
	c, err := start(ctx, s, ready)
	if ready != nil && errors.Is(err, errUnheard) {
		c, err = start(ctx, s, nil) // it has died while it stood there, and started nothing
	}
	if err != nil {
		return nil, fmt.Errorf("supervise: start %s: %w", s.Path, err)
	}
	return c, nil
}

// take takes the guard that is ready, if it is of use.
func (g *Guards) take(s Spec) *Child {
	if s.Stdout != nil || s.Stderr != nil {
		return nil // it has pipes
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.ready
	g.ready = nil
	return c
}

// later has the next guard made ready after a while.
func (g *Guards) later() {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
	case g.refill == nil:
		g.refill = time.AfterFunc(readyAfter, g.fill)
	default:
		g.refill.Reset(readyAfter)
	}
}

// fill makes a guard ready. Where that fails, a start will say why.
func (g *Guards) fill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed && g.ready == nil {
		g.ready, _ = raise(nil, nil)
	}
}

// Close ends the guard that is ready. Children go on; one that is started later has no such guard.
func (g *Guards) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if g.refill != nil {
		g.refill.Stop()
	}
	if g.ready != nil {
		g.ready.discard()
		g.ready = nil
	}
}
