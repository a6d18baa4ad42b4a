package storebench

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

// slowDisk measures claims and ends, and bare commits, on connections whose commits wait a millisecond before they flush.
func (b *bench) slowDisk(ctx context.Context) (Row, error) {
	cfg := b.pool.Config()
	cfg.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, "set commit_delay = 1000; set commit_siblings = 0")
		return err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return Row{}, err
	}
	defer pool.Close()
	slow := bench{pool: pool, store: store.New(pool), node: b.node}
	if err := slow.setUpNoops(ctx); err != nil {
		return Row{}, err
	}
	if _, err := rate(ctx, warmUp, slow.claimFinish); err != nil {
		return Row{}, err
	}
	base, err := rate(ctx, noops, slow.twoCommits)
	if err != nil {
		return Row{}, err
	}
	value, err := rate(ctx, noops, slow.claimFinish)
	return Row{Name: "claim_finish_1ms_per_s", Value: value, Unit: "1/s", Baseline: base, Ratio: value / base}, err
}
