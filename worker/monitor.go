package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/monitor"
	"github.com/towpath/towpath/worker/profiles"
	"github.com/towpath/towpath/worker/turn"
)

// newMonitor watches a node.
func newMonitor(cfg Config, db *store.Store, registry *profiles.Registry, runner *turn.Runner) *monitor.Monitor {
	return monitor.New(monitor.Config{
		Store: db, Pool: cfg.Pool, Node: cfg.NodeID, Version: cfg.Version,
		Running:  runner.Running,
		Profiles: func() (served, problems int) { return len(registry.Names()), len(registry.Problems()) },
		Checks: map[string]func(context.Context) error{
			"database": cfg.Pool.Ping,
			"migrations": func(ctx context.Context) error {
				if h := db.Health(ctx); !h.MigrationReady {
					return errors.New(h.Message)
				}
				return nil
			},
			"plugins": func(context.Context) error {
				if cfg.Plugins != "" && len(registry.Names()) == 0 {
					return fmt.Errorf("no profile is served: put NAME.wasm and NAME.toml into %s", cfg.Plugins)
				}
				return nil
			},
			"lease": func(context.Context) error {
				if silent := time.Since(runner.Renewed()); silent > cfg.LeaseTTL {
					return fmt.Errorf("the database has not confirmed this node's leases for %v", silent.Round(time.Second))
				}
				return nil
			},
		},
	})
}
