package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Prune says what to remove of what has ended. The zero value goes by the retention of each tenant and profile.
type Prune struct {
	Cutoff    *time.Time      // what ended before it; nil: by retention
	Filter    json.RawMessage // see towpath.prune; nil: none
	Watermark string          // a place of Changes: what the feed has told after it stays; "": none
	DryRun    bool            // nothing goes, the counts are what would
	Batch     int             // processes a transaction, 1000 when 0
}

// Pruned counts what went, by the names that towpath.prune has for it.
type Pruned map[string]int64

// Prune removes what has ended and is past retention, a batch a transaction, until nothing is left or ctx ends. What it
// returns with an error is gone too; the next call goes on. Any number may run at once. After each batch it rests for half
// as long as that took, so that live turns feel little of it.
func (s *Store) Prune(ctx context.Context, p Prune) (Pruned, error) {
	if p.Filter == nil {
		p.Filter = []byte("{}")
	}
	if p.Batch == 0 {
		p.Batch = 1000
	}
	var watermark *string
	if p.Watermark != "" {
		watermark = &p.Watermark
	}
	total := Pruned{}
	for after := ""; ; {
		began := time.Now()
		raw, err := one(ctx, s, "prune", pgx.RowTo[[]byte], "select towpath.prune($1, $2, $3, $4, $5, $6)",
			p.Cutoff, p.Filter, watermark, after, p.Batch, p.DryRun)
		if err != nil {
			return total, err
		}
		var counts map[string]any
		if err := json.Unmarshal(raw, &counts); err != nil {
			return total, wrap("prune", err)
		}
		for name, n := range counts {
			if n, ok := n.(float64); ok {
				total[name] += int64(n)
			}
		}
		next, more := counts["next"].(string)
		if !more {
			return total, nil
		}
		after = next
		if !p.DryRun {
			if err := rest(ctx, time.Since(began)/2); err != nil {
				return total, wrap("prune", err)
			}
		}
	}
}

// Now is the database's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	return one(ctx, s, "now", pgx.RowTo[time.Time], "select towpath.now()")
}

// rest waits for d, or until ctx ends.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
