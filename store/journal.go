package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// Journal reads the recorded host calls of a turn, in order.
func (s *Store) Journal(ctx context.Context, id string) ([]Journal, error) {
	return all(ctx, s, "journal", pgx.RowToStructByName[Journal], "select * from towpath.journal($1)", id)
}

// Emitted returns the sequence numbers of what the guest of a running turn has emitted since its journal began.
func (s *Store) Emitted(ctx context.Context, no int64) ([]int64, error) {
	return all(ctx, s, "emitted", pgx.RowTo[int64], "select * from towpath.emitted($1)", no)
}

// Forget begins a turn anew because its journal cannot be replayed: the journal goes, what was said is taken back.
func (s *Store) Forget(ctx context.Context, o Owner, reason string) error {
	return exec(ctx, s, "forget", "select towpath.forget($1, $2, $3)", o.No, o.Fence, reason)
}

// Park lets a turn wait without lease and job.
func (s *Store) Park(ctx context.Context, o Owner, wait json.RawMessage) error {
	return exec(ctx, s, "park", "select towpath.park($1, $2, $3)", o.No, o.Fence, wait)
}

// Resolve decides about a turn that waits because an outside call is in doubt: retry or fail. It returns its status.
func (s *Store) Resolve(ctx context.Context, id, decision string) (string, error) {
	return one(ctx, s, "resolve", pgx.RowTo[string], "select towpath.resolve($1, $2)", id, decision)
}

// EmittedOf is Emitted by a turn's id, running or not.
func (s *Store) EmittedOf(ctx context.Context, id string) ([]int64, error) {
	return all(ctx, s, "emitted", pgx.RowTo[int64], "select e from towpath.process p, towpath.emitted(p.no) e where p.id = $1", id)
}

// Fences returns the attempts of a process by the fence of their writes.
func (s *Store) Fences(ctx context.Context, id string) (map[int64]int, error) {
	type row struct {
		Fence   int64 `db:"fence"`
		Attempt int   `db:"attempt"`
	}
	rows, err := all(ctx, s, "fences", pgx.RowToStructByName[row],
		"select a.fence, a.attempt from towpath.attempt a join towpath.process p on p.no = a.process_no where p.id = $1", id)
	attempts := make(map[int64]int, len(rows))
	for _, r := range rows {
		attempts[r.Fence] = r.Attempt
	}
	return attempts, err
}

// Seed returns the deployment's secret for freezing plugins and for the digests of journals.
func (s *Store) Seed(ctx context.Context) ([]byte, error) {
	return one(ctx, s, "seed", pgx.RowTo[[]byte], "select towpath.digest('seed of frozen plugins')")
}
