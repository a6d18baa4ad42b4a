package worker

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/worker/profiles"
)

// Inspect loads a plugins folder as a node would, and says what a node could not serve. It needs no database.
func Inspect(ctx context.Context, plugins, cache string) ([]profiles.Problem, error) {
	eng, err := engine.New(ctx, engine.Config{CacheDir: cache, Seed: make([]byte, 32), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, fmt.Errorf("worker: inspect: %w", err)
	}
	defer eng.Close(context.WithoutCancel(ctx))
	registry := profiles.New(Loader(eng), slog.New(slog.DiscardHandler))
	defer registry.Close()
	if err := registry.Scan(ctx, plugins); err != nil {
		return nil, fmt.Errorf("worker: inspect: %w", err)
	}
	return registry.Problems(), nil
}
