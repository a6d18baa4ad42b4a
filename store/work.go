package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// Work is a process with its newest events, oldest first.
type Work struct {
	Process
	Shared     bool            `db:"shared" json:"shared"` // with the session
	Wakes      bool            `db:"wakes" json:"wakes"`   // the session, when it ends
	Descriptor json.RawMessage `db:"descriptor" json:"descriptor"`
	Recent     []Event         `db:"recent" json:"recent"`
}

// SessionWork reads at most max processes that are shared with a session or wake it, last changed first, each with at
// most events events.
func (s *Store) SessionWork(ctx context.Context, session string, events, max int) ([]Work, error) {
	return all(ctx, s, "session work", pgx.RowToStructByName[Work], "select "+processColumns+`, shared, wakes, descriptor, recent from (
		select w.shared, w.wakes, w.descriptor, w.recent, (w.process).* from towpath.session_work($1, $2, $3) w) p`, session, events, max)
}

// ListedWork is a process in a list, at its place, with its newest events, oldest first.
type ListedWork struct {
	Listed
	Recent []Event
}

// ListWork is ListProcesses with at most events events of each process.
func (s *Store) ListWork(ctx context.Context, filter map[string]any, after string, max, events int) ([]ListedWork, error) {
	if filter == nil {
		filter = map[string]any{}
	}
	keys, err := json.Marshal(filter)
	if err != nil {
		return nil, wrap("list work", err)
	}
	type row struct {
		Place string `db:"place"`
		Process
		Recent []Event `db:"recent"`
	}
	rows, err := all(ctx, s, "list work", pgx.RowToStructByName[row], "select place, "+processColumns+`, recent from (
		select w.place, w.recent, (w.process).* from towpath.work($1, nullif($2, ''), $3, $4) w) p`, json.RawMessage(keys), after, max, events)
	list := make([]ListedWork, len(rows))
	for i, r := range rows {
		list[i] = ListedWork{Listed{r.Place, r.Process}, r.Recent}
	}
	return list, err
}
