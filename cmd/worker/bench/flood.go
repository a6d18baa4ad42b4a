package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	floodBudget = time.Second // wall time of a hostile turn
	floodTurns  = 3           // of each kind
)

// flooded measures how long hostile turns run over their budget, and how soon other turns start meanwhile.
func flooded(ctx context.Context, o Options, s *server, emit func(Row)) (err error) {
	pool, err := s.open(ctx, "flooded")
	if err != nil {
		return err
	}
	defer pool.Close()
	folder := filepath.Join(s.dir, "flood")
	for name, wasm := range hostile {
		permits := fmt.Sprintf("[limits]\nturn = %q\nattempts = 1\n", floodBudget)
		if err := errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, name+".wasm"), wasm, 0o600),
			os.WriteFile(filepath.Join(folder, name+".toml"), []byte(permits), 0o600)); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "ping.wasm"), assemble("ping", 0, 0), 0o600); err != nil {
		return err
	}
	n, err := startNode(ctx, o, pool, s.dir, "flood", assemble("flood", 0, 0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	calm, err := n.starts(ctx, pool, o.Turns)
	if err != nil {
		return err
	}
	var busy []float64
	for _, kind := range slices.Sorted(maps.Keys(hostile)) {
		worst := 0.0
		for range floodTurns {
			over, meanwhile, err := n.beside(ctx, pool, kind)
			if err != nil {
				return err
			}
			worst, busy = max(worst, over), append(busy, meanwhile...)
		}
		emit(Row{Name: "over_budget_" + kind + "_ms", Unit: "ms", Value: worst, Baseline: floodBudget.Seconds() * 1000})
	}
	for _, p := range []float64{0.5, 0.99} {
		emit(Row{Name: fmt.Sprintf("submit_to_guest_beside_flood_p%.0f_ms", p*100), Unit: "ms", Value: percentile(busy, p), Baseline: percentile(calm, p)})
	}
	return nil
}

// beside runs a hostile turn, and others until it has ended. over is how long it took beyond its budget.
func (n *node) beside(ctx context.Context, pool *pgxpool.Pool, kind string) (over float64, busy []float64, err error) {
	var id string
	if err := pool.QueryRow(ctx, "select towpath.submit($1, '{}')", kind).Scan(&id); err != nil {
		return 0, nil, err
	}
	for began := time.Now(); time.Since(began) < floodBudget*20; {
		ms, err := n.measure(ctx, pool)
		if err != nil {
			return 0, nil, err
		}
		busy = append(busy, ms)
		var status string
		var took float64
		err = pool.QueryRow(ctx, `select p.status, coalesce(extract(epoch from p.finalized_at - a.started_at), 0)::float8 * 1000
			from towpath.process p left join towpath.attempt a on a.process_no = p.no where p.id = $1`, id).Scan(&status, &took)
		if err != nil {
			return 0, nil, err
		}
		switch {
		case status == "failed":
			return took - floodBudget.Seconds()*1000, busy, nil
		case status == "completed":
			return 0, nil, fmt.Errorf("the hostile turn %s completed", id)
		}
	}
	return 0, nil, fmt.Errorf("the hostile turn %s (%s) was not stopped", id, kind)
}
