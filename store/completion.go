package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Completed is the end of a process, for the session that it wakes. Seq is its number there, from 1 without gaps.
type Completed struct {
	Seq         int64           `db:"seq" json:"seq"`
	ProcessID   string          `db:"process_id" json:"process_id"`
	Kind        *string         `db:"kind" json:"kind,omitempty"`
	Label       *string         `db:"label" json:"label,omitempty"`
	Status      string          `db:"status" json:"status"`
	Outcome     json.RawMessage `db:"outcome" json:"outcome"`
	FailureKind *string         `db:"failure_kind" json:"failure_kind,omitempty"`
	Wakes       bool            `db:"wakes" json:"wakes"`         // false: a member, which wakes nobody
	Turn        *string         `db:"turn" json:"turn,omitempty"` // that the session was woken with
	At          time.Time       `db:"at" json:"at"`
}

// Completions reads which processes that wake a session have ended since what a reader has acknowledged; "" reads all.
// What is not acknowledged comes again.
func (s *Store) Completions(ctx context.Context, session, reader string, max int) ([]Completed, error) {
	return all(ctx, s, "completions", pgx.RowToStructByName[Completed], "select * from towpath.completions($1, nullif($2, ''), null, $3)", session, reader, max)
}

// CompletionsSeen acknowledges completions up to a number. ErrConflict: the reader has acknowledged more.
func (s *Store) CompletionsSeen(ctx context.Context, reader, session string, seq int64) error {
	return exec(ctx, s, "completions seen", "select towpath.completions_seen($1, $2, $3)", reader, session, seq)
}

// Woken is what became of a session that was to be woken.
type Woken struct {
	Action      string  `db:"action" json:"action"` // woken, later, nothing or gone
	Turn        *string `db:"turn" json:"turn,omitempty"`
	Completions int     `db:"completions" json:"completions"` // that the turn tells of
}

// WakeSession gives an idle session one turn that tells it of all its processes that have ended since.
func (s *Store) WakeSession(ctx context.Context, session string) (Woken, error) {
	return one(ctx, s, "wake session", pgx.RowToStructByName[Woken], "select * from towpath.wake_session($1)", session)
}

// EndOperations is CancelAll for the processes whose end wakes a session.
func (s *Store) EndOperations(ctx context.Context, session, reason string, grace time.Duration) ([]Cancelled, error) {
	return s.cancelBatches(ctx, "select * from towpath.end_operations($5, $1, $2, $3, $4)", reason, grace, session)
}

// AwaitAll returns processes in their order once every one of them has ended. ErrNotFound: there is no such process, or
// no more; ErrInvalid: an id comes twice.
func (s *Store) AwaitAll(ctx context.Context, ids []string) ([]Process, error) {
	if err := exec(ctx, s, "await all", "select towpath.await_all($1)", list(ids)); err != nil {
		return nil, err
	}
	ended := make([]Process, len(ids))
	for i, id := range ids {
		p, err := s.Await(ctx, id)
		if err != nil {
			return nil, err
		}
		ended[i] = p
	}
	return ended, nil
}
