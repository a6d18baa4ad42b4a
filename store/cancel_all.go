package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Cancelled is what became of one process of a CancelAll.
type Cancelled struct {
	ID     string  `db:"process_id"`
	Status string  `db:"status"` // as it is now
	Error  *string `db:"error"`  // what kept it, if anything
}

// cancelBatch is how many processes one transaction cancels.
const cancelBatch = 200

// CancelAll cancels every live process, and goes on whatever becomes of one of them. What it did before an error it
// returns with the error.
func (s *Store) CancelAll(ctx context.Context, reason string, grace time.Duration) ([]Cancelled, error) {
	return s.cancelBatches(ctx, "select * from towpath.cancel_all($1, $2, $3, $4)", reason, grace)
}

// CancelShared is CancelAll for the processes that are shared with a scope, such as "session:s".
func (s *Store) CancelShared(ctx context.Context, scope, reason string, grace time.Duration) ([]Cancelled, error) {
	return s.cancelBatches(ctx, "select * from towpath.cancel_shared($5, $1, $2, $3, $4)", reason, grace, scope)
}

func (s *Store) cancelBatches(ctx context.Context, sql string, reason string, grace time.Duration, scope ...any) ([]Cancelled, error) {
	var done []Cancelled
	after := ""
	for {
		batch, err := all(ctx, s, "cancel all", pgx.RowToStructByName[Cancelled], sql, append([]any{reason, grace, after, cancelBatch}, scope...)...)
		done = append(done, batch...)
		if err != nil || len(batch) < cancelBatch {
			return done, err
		}
		after = batch[len(batch)-1].ID
	}
}

// RequestAbandon asks that a process whose owner is silent be given up, and returns the mark: an earlier one stays.
func (s *Store) RequestAbandon(ctx context.Context, id, by, reason string) (json.RawMessage, error) {
	return one(ctx, s, "request abandon", pgx.RowTo[json.RawMessage], "select towpath.request_abandon($1, $2, nullif($3, ''))", id, by, reason)
}
