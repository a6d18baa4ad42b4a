package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Share lets a scope, such as "session:s" or "session:s/frame:f", address a process. It is false when it could already;
// then descriptor, an object or nil, takes the place of the one before.
func (s *Store) Share(ctx context.Context, scope, id string, descriptor json.RawMessage) (bool, error) {
	if descriptor == nil {
		descriptor = json.RawMessage("{}")
	}
	return one(ctx, s, "share", pgx.RowTo[bool], "select towpath.share($1, $2, $3)", scope, id, descriptor)
}

// Unshare takes a share back. It is false when there was none.
func (s *Store) Unshare(ctx context.Context, scope, id string) (bool, error) {
	return one(ctx, s, "unshare", pgx.RowTo[bool], "select towpath.unshare($1, $2)", scope, id)
}

// Transfer moves shares from one scope to another, all or none. ErrDenied: one of the processes is not shared with from.
func (s *Store) Transfer(ctx context.Context, from, to string, ids []string) error {
	return exec(ctx, s, "transfer", "select towpath.transfer($1, $2, $3)", from, to, list(ids))
}

// Unshared is what became of one process of a CancelUnshared.
type Unshared struct {
	ID     string  `db:"process_id"`
	Status *string `db:"status"` // as it is now
	Shares *int    `db:"shares"` // that are left; it goes on while there are any
	Error  *string `db:"error"`  // what kept it, if anything
}

// CancelUnshared takes processes away from a scope, nil is all that live, and cancels those that nobody else may
// address. What it did before an error it returns with the error.
func (s *Store) CancelUnshared(ctx context.Context, scope, reason string, grace time.Duration, ids []string) ([]Unshared, error) {
	var done []Unshared
	after := ""
	for {
		batch, err := all(ctx, s, "cancel unshared", pgx.RowToStructByName[Unshared], "select * from towpath.cancel_unshared($1, $2, $3, $4, $5, $6)",
			scope, reason, grace, ids, after, cancelBatch)
		done = append(done, batch...)
		if err != nil || ids != nil || len(batch) < cancelBatch {
			return done, err
		}
		after = batch[len(batch)-1].ID
	}
}

// Deleted says what the deletion of a session left.
type Deleted struct {
	Gone      bool     `db:"gone"`      // false: it has turns, and is retired
	Revoked   int      `db:"revoked"`   // shares
	Orphaned  []string `db:"orphaned"`  // live processes that nobody may address any more
	Preserved []string `db:"preserved"` // live processes that others still may
}

// DeleteSession takes from a session what is shared with it and what would wake it, and the session itself once it has
// no turns. No process ends.
func (s *Store) DeleteSession(ctx context.Context, session string) (Deleted, error) {
	return one(ctx, s, "delete session", pgx.RowToStructByName[Deleted], "select * from towpath.session_delete($1)", session)
}
