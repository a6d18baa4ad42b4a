package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Gauge is one number about the whole deployment, see towpath.gauges.
type Gauge struct {
	Name   string            `db:"name"`
	Labels map[string]string `db:"labels"`
	Value  float64           `db:"value"`
}

// Gauges reads the numbers of the deployment.
func (s *Store) Gauges(ctx context.Context) ([]Gauge, error) {
	return all(ctx, s, "gauges", pgx.RowToStructByName[Gauge], "select * from towpath.gauges()")
}
