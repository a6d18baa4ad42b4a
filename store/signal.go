package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// Signal sends a signal to a process that has declared event type "signal."+name, and returns its sequence number. The
// same signalID and data is the same signal, other data ErrIdempotency. scope is who sends it, "" the host, which needs
// no share; ErrDenied: the process is not shared with it. ErrConflict: the process has ended.
func (s *Store) Signal(ctx context.Context, id, name, signalID string, data json.RawMessage, scope string) (int64, error) {
	if data == nil {
		data = json.RawMessage("{}")
	}
	return one(ctx, s, "signal", pgx.RowTo[int64], "select towpath.signal($1, $2, $3, $4, nullif($5, ''))", id, name, signalID, data, scope)
}

// Signalled is a signal that a process has waited for.
type Signalled struct {
	Seq  *int64          `db:"seq"` // nil: it has not come, and the process is parked
	Data json.RawMessage `db:"data"`
}

// WaitSignal waits, for the owner, for the ordinal-th signal of a name, counted from 1 in each attempt. When it has not
// come the process is parked: o owns it no more, and the signal puts it back in its queue.
func (s *Store) WaitSignal(ctx context.Context, o Owner, name string, ordinal int) (Signalled, error) {
	return one(ctx, s, "wait signal", pgx.RowToStructByName[Signalled], "select * from towpath.wait_signal($1, $2, $3, $4)", o.No, o.Fence, name, ordinal)
}
