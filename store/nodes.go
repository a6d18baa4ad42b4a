package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// NodeRow is a row of the view towpath.nodes.
type NodeRow struct {
	ID        string     `db:"id" json:"id"`
	Version   string     `db:"version" json:"version"`
	Queues    []string   `db:"queues" json:"queues"`
	Leases    int        `db:"leases" json:"leases"`
	StartedAt time.Time  `db:"started_at" json:"started_at"`
	SeenAt    time.Time  `db:"seen_at" json:"seen_at"`
	StoppedAt *time.Time `db:"stopped_at" json:"stopped_at,omitempty"`
}

// Nodes lists the workers that have not left, by name.
func (s *Store) Nodes(ctx context.Context) ([]NodeRow, error) {
	return all(ctx, s, "nodes", pgx.RowToStructByName[NodeRow],
		"select id, version, queues, leases, started_at, seen_at, stopped_at from towpath.nodes where stopped_at is null order by id")
}
