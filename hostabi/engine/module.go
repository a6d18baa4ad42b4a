package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/towpath/towpath/hostabi"
)

// Module is a loaded plugin. It is safe for concurrent use.
type Module struct {
	engine   *Engine
	digest   [32]byte
	size     int64
	snapshot [32]byte
	manifest hostabi.Manifest
	template *template

	mu     sync.Mutex
	closed bool
	turns  sync.WaitGroup
	free   sync.Once
}

// Digest returns the SHA-256 of the file as it was given to Load.
func (m *Module) Digest() [32]byte { return m.digest }

// Snapshot identifies the state in which every instance begins, and with it this version of the rewrite: a turn can be
// replayed only on the snapshot that it began with.
func (m *Module) Snapshot() [32]byte { return m.snapshot }

// Manifest returns what the plugin's manifest_v1 finished with when it was loaded.
func (m *Module) Manifest() hostabi.Manifest { return m.manifest }

// Size is about what the module takes in memory while no turn runs, in bytes: its code and its image.
func (m *Module) Size() int64 { return m.size }

// Run runs one turn in a fresh instance and returns nil when it finished and returned 0. Otherwise the error is a
// *Trap, or ErrClosed. The context's end stops the guest within milliseconds, wherever it is.
func (m *Module) Run(ctx context.Context, host hostabi.Host) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.turns.Add(1)
	m.mu.Unlock()
	defer m.turns.Done()
	m.engine.ran.Store(time.Now().UnixNano())
	return m.template.call(ctx, hostabi.ExportTurn, host)
}

// Close waits for the module's running turns and frees what it holds. When the context ends first, its cause is
// returned and the module stays as it was, but for new turns, which are refused.
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	idle := make(chan struct{})
	go func() {
		m.turns.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		return fmt.Errorf("engine: close module: %w", context.Cause(ctx))
	}
	var err error
	m.free.Do(func() {
		m.engine.forget(m)
		err = m.template.close(ctx)
	})
	if err != nil {
		return fmt.Errorf("engine: close module: %w", err)
	}
	return nil
}
