package store

import (
	"context"
	"encoding/json"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Runtime is what a supervisor says of a program that it runs. Times are milliseconds since 1970.
type Runtime struct {
	ID             string            `json:"id"`
	ClientID       string            `json:"client_id"`
	PID            *int              `json:"pid"`
	Status         string            `json:"status"` // running, stopped, exited or unknown
	Cwd            string            `json:"cwd"`
	Command        string            `json:"command"`
	Args           []string          `json:"args"`
	Env            map[string]string `json:"env,omitempty"` // values that are named like credentials are not kept
	Session        string            `json:"session,omitempty"`
	AdapterSession string            `json:"adapter_session,omitempty"`
	StartedAt      int64             `json:"started_at"`
	StoppedAt      *int64            `json:"stopped_at,omitempty"`
	ExitCode       *int              `json:"exit_code,omitempty"`
	ExitSignal     string            `json:"exit_signal,omitempty"`
	Metadata       json.RawMessage   `json:"metadata,omitempty"`
	Host           string            `json:"host,omitempty"`        // the supervisor
	Incarnation    *uuid.UUID        `json:"incarnation,omitempty"` // of the supervisor
	Version        int64             `json:"version,omitempty"`     // 0 in SetRuntime
}

// SetRuntime inserts a record or replaces it whole, and returns its version. ErrConflict: another running one has its
// session.
func (s *Store) SetRuntime(ctx context.Context, r Runtime) (int64, error) {
	if r.Args == nil {
		r.Args = []string{}
	}
	r.Version = 0
	record, err := json.Marshal(r)
	if err != nil {
		return 0, wrap("set runtime", err)
	}
	return one(ctx, s, "set runtime", pgx.RowTo[int64], "select towpath.runtime_set($1)", json.RawMessage(record))
}

// UpdateRuntime changes the given keys: pid, status, session, adapter_session, stopped_at, exit_code, exit_signal,
// metadata. It is false when there is no such record. ErrConflict: a status that does not follow.
func (s *Store) UpdateRuntime(ctx context.Context, id string, changes map[string]any) (bool, error) {
	keys, err := json.Marshal(changes)
	if err != nil {
		return false, wrap("update runtime", err)
	}
	return one(ctx, s, "update runtime", pgx.RowTo[bool], "select towpath.runtime_update($1, $2)", id, json.RawMessage(keys))
}

// StopRuntime notes that a running program was stopped. It is false for one that does not run.
func (s *Store) StopRuntime(ctx context.Context, id string) (bool, error) {
	return one(ctx, s, "stop runtime", pgx.RowTo[bool], "select towpath.runtime_stop($1)", id)
}

// Locator finds a runtime by exactly one of its fields.
type Locator struct{ ID, Session, AdapterSession string }

// Runtime reads a record; nil when there is none. ErrInvalid: not exactly one locator.
func (s *Store) Runtime(ctx context.Context, l Locator) (*Runtime, error) {
	return one(ctx, s, "runtime", pgx.RowTo[*Runtime], "select towpath.runtime_get(nullif($1, ''), nullif($2, ''), nullif($3, ''))", l.ID, l.Session, l.AdapterSession)
}

// DeleteRuntime deletes a record. It is false when there was none.
func (s *Store) DeleteRuntime(ctx context.Context, id string) (bool, error) {
	return one(ctx, s, "delete runtime", pgx.RowTo[bool], "select towpath.runtime_delete($1)", id)
}

// ListedRuntime is a record in a list, at its place.
type ListedRuntime struct {
	Place   string  `db:"place"`
	Runtime Runtime `db:"runtime"`
}

// ListRuntimes lists records, the oldest start first, at most max after a place ("" begins), of one status or any ("").
func (s *Store) ListRuntimes(ctx context.Context, status, after string, max int) ([]ListedRuntime, error) {
	return all(ctx, s, "list runtimes", pgx.RowToStructByName[ListedRuntime], "select * from towpath.runtime_list(nullif($1, ''), nullif($2, ''), $3)", status, after, max)
}

// ReconcileRuntimes marks what an earlier start of a node, or a node that is gone, ran as unknown, and returns how many.
func (s *Store) ReconcileRuntimes(ctx context.Context, n Node) (int, error) {
	return one(ctx, s, "reconcile runtimes", pgx.RowTo[int], "select towpath.runtime_reconcile($1, $2)", n.ID, n.Incarnation)
}
