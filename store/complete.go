package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// Completion is how a process ends. Key names this report of it: the same key and end again are the same report.
type Completion struct {
	Status  string          // completed, failed, cancelled or abandoned
	Outcome json.RawMessage // an object
	Kind    string          // failure kind, for failed
	Key     string
}

// Complete ends a process by its executor. ErrFence: somebody else owns it now. ErrConflict: it has ended already.
func (s *Store) Complete(ctx context.Context, o Owner, c Completion) error {
	err := exec(ctx, s, "complete", completeSQL, o.No, o.Fence, c.Status, c.Outcome, c.Key, c.Kind)
	if err == nil {
		s.wakeReaders(o.ID)
	}
	return err
}

var completeSQL = "select towpath.complete(" + later("$1::bigint") + ", $2, $3, $4, nullif($5, ''), nullif($6, ''))"

// Who may end a process without its lease.
const (
	ByExternalOwner     = "external_owner"     // whoever runs an external process
	ByWorkflowKey       = "workflow_key"       // who knows the idempotency key that it was started with
	ByReconciledAbandon = "reconciled_abandon" // an external process that somebody asked to abandon
)

// CompleteBy ends a process by an authority; workflowKey is for ByWorkflowKey. ErrDenied: the authority does not hold.
func (s *Store) CompleteBy(ctx context.Context, authority, id string, c Completion, workflowKey string) error {
	return exec(ctx, s, "complete", "select towpath.complete_by($1, $2, $3, $4, nullif($5, ''), nullif($6, ''), nullif($7, ''))",
		authority, id, c.Status, c.Outcome, c.Key, c.Kind, workflowKey)
}

// AppendEvent appends an event that the process has declared and returns its sequence number. key may be empty; the same
// key and content give the same event, other content ErrIdempotency.
func (s *Store) AppendEvent(ctx context.Context, id, kind string, data json.RawMessage, key string) (int64, error) {
	return one(ctx, s, "append event", pgx.RowTo[int64], "select towpath.append_event($1, $2, $3, nullif($4, ''))", id, kind, data, key)
}

// AppendOwned is AppendEvent by the executor, under its fence.
func (s *Store) AppendOwned(ctx context.Context, o Owner, kind string, data json.RawMessage, key string) (int64, error) {
	return one(ctx, s, "append event", pgx.RowTo[int64], "select towpath.append_owned($1, $2, $3, $4, nullif($5, ''))", o.No, o.Fence, kind, data, key)
}

// Recent returns the newest events of a process, oldest first.
func (s *Store) Recent(ctx context.Context, id string, max int) ([]Event, error) {
	return all(ctx, s, "recent", pgx.RowToStructByName[Event], "select * from towpath.recent($1, $2)", id, max)
}
