package worker

import (
	"context"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/profiles"
)

// Scanned is what a node serves, in the output of a job scan_plugins.
type Scanned struct {
	Node     string   `json:"node"`
	Profiles []string `json:"profiles"`
	Problems []string `json:"problems,omitempty"` // files that are not served as they are
}

// scanPlugins is the job scan_plugins: every node looks at its plugins now, and this one leaves in the job's row what it found.
func scanPlugins(ctx context.Context, db *store.Store, registry *profiles.Registry, node, folder string) error {
	if err := db.WakePlugins(ctx); err != nil {
		return err
	}
	if err := registry.Look(ctx, folder); err != nil {
		return err
	}
	found := Scanned{Node: node, Profiles: append([]string{}, registry.Names()...)}
	for _, p := range registry.Problems() {
		found.Problems = append(found.Problems, p.String())
	}
	return queue.Output(ctx, found)
}
