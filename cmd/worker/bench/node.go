package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/worker"
)

// node is a worker in this process.
type node struct {
	greeted chan time.Time // when a guest said its greeting
	stop    func() error
}

// startNode runs a worker with one plugin of ours, and returns when it takes jobs.
func startNode(ctx context.Context, o Options, pool *pgxpool.Pool, dir, name string, wasm []byte) (*node, error) {
	plugins := filepath.Join(dir, name)
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(plugins, name+".wasm"), wasm, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(plugins, name+".toml"), []byte("[limits]\ncapacity = 100\n"), 0o600); err != nil {
		return nil, err
	}
	n := &node{greeted: make(chan time.Time, 1024)}
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- worker.Run(ctx, worker.Config{
			Pool: pool, NodeID: "bench-" + name, Plugins: plugins, Cache: filepath.Join(dir, "cache"),
			Logger: slog.New(&ear{n.greeted, o.Logger.Handler()}),
			Ready:  func() { close(ready) },
		})
	}()
	n.stop = func() error { cancel(); return <-ended }
	select {
	case <-ready:
		return n, nil
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("the worker did not start: %w", err)
	}
}

// ear is a log handler that hears the guests' greeting and passes the rest on.
type ear struct {
	greeted chan<- time.Time
	slog.Handler
}

func (e *ear) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || e.Handler.Enabled(ctx, level)
}

func (e *ear) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == greeting {
		select {
		case e.greeted <- time.Now():
		default: // nobody measures
		}
		return nil
	}
	if !e.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return e.Handler.Handle(ctx, r)
}

func (e *ear) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &ear{e.greeted, e.Handler.WithAttrs(attrs)}
}

func (e *ear) WithGroup(name string) slog.Handler { return &ear{e.greeted, e.Handler.WithGroup(name)} }
