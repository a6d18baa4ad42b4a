package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Change is a process or a session that has changed, as it is now.
type Change struct {
	Place       string     `db:"place"` // the cursor to go on from
	Kind        string     `db:"kind"`  // process or session
	ID          string     `db:"id"`
	Status      string     `db:"status"`
	Session     *string    `db:"session"`
	LastSeq     *int64     `db:"last_seq"`
	FinalizedAt *time.Time `db:"finalized_at"`
}

// Changes reads at most max changes after a cursor, in the order of their transactions; "" begins. None keeps the cursor.
// ErrResync: the database was restored since, read everything once more.
func (s *Store) Changes(ctx context.Context, cursor string, max int) ([]Change, error) {
	return all(ctx, s, "changes", pgx.RowToStructByName[Change], "select * from towpath.changes($1, $2)", cursor, max)
}

// ChangesNow is the cursor before every change that is yet to come.
func (s *Store) ChangesNow(ctx context.Context) (string, error) {
	return one(ctx, s, "changes", pgx.RowTo[string], "select towpath.changes_now()")
}

// RestartFeed refuses every cursor from now, as a restore demands, and returns the feed's new epoch.
func (s *Store) RestartFeed(ctx context.Context) (int64, error) {
	return one(ctx, s, "restart feed", pgx.RowTo[int64], "select towpath.feed_restart()")
}

// Listed is a process in a list, at its place.
type Listed struct {
	Place string
	Process
}

// ListProcesses lists processes newest first, at most max after a place ("" begins). The comment of
// towpath.processes_list has the filter's keys.
func (s *Store) ListProcesses(ctx context.Context, filter map[string]any, after string, max int) ([]Listed, error) {
	if filter == nil {
		filter = map[string]any{}
	}
	keys, err := json.Marshal(filter)
	if err != nil {
		return nil, wrap("list processes", err)
	}
	type row struct {
		Place string `db:"place"`
		Process
	}
	rows, err := all(ctx, s, "list processes", pgx.RowToStructByName[row], "select place, "+processColumns+` from (
		select l.place, (l.process).* from towpath.processes_list($1, nullif($2, ''), $3) l) p`, json.RawMessage(keys), after, max)
	list := make([]Listed, len(rows))
	for i, r := range rows {
		list[i] = Listed(r)
	}
	return list, err
}
