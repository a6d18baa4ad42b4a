package bench

import (
	"context"
	"errors"

	"github.com/towpath/towpath/store/storebench"
)

// process is the suite process: the process model's functions beside the plainest statements.
func process(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	pool, err := s.open(ctx, "process")
	if err != nil {
		return err
	}
	defer pool.Close()
	rows, err := storebench.Run(ctx, pool)
	if err != nil {
		return err
	}
	for _, r := range rows {
		emit(Row{Name: r.Name, Value: r.Value, Unit: r.Unit, Baseline: r.Baseline})
	}
	return nil
}
