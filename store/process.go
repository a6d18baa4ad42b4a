package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Process is a row of the view towpath.processes.
type Process struct {
	ID                string          `db:"id" json:"id"`
	Class             string          `db:"class" json:"class"`
	Status            string          `db:"status" json:"status"`
	Profile           *string         `db:"profile" json:"profile,omitempty"`
	Definition        *string         `db:"definition" json:"definition,omitempty"` // a daemon's name
	Session           *string         `db:"session" json:"session,omitempty"`
	Attempt           int             `db:"attempt" json:"attempt"`
	MaxAttempts       int             `db:"max_attempts" json:"max_attempts"`
	NextAttemptAt     *time.Time      `db:"next_attempt_at" json:"next_attempt_at,omitempty"`
	Wait              json.RawMessage `db:"wait" json:"wait,omitempty"` // what it waits for, an object with kind
	CancelRequestedAt *time.Time      `db:"cancel_requested_at" json:"cancel_requested_at,omitempty"`
	CancelReason      *string         `db:"cancel_reason" json:"cancel_reason,omitempty"`
	Outcome           json.RawMessage `db:"outcome" json:"outcome,omitempty"`
	FailureKind       *string         `db:"failure_kind" json:"failure_kind,omitempty"`
	LastSeq           int64           `db:"last_seq" json:"last_seq"`
	RiverJobID        *int64          `db:"river_job_id" json:"river_job_id,omitempty"`
	Node              *string         `db:"node" json:"node,omitempty"`
	CreatedAt         time.Time       `db:"created_at" json:"created_at"`
	FinalizedAt       *time.Time      `db:"finalized_at" json:"finalized_at,omitempty"`
}

// Final reports whether the process has ended for good.
func (p Process) Final() bool { return p.FinalizedAt != nil }

const processColumns = `id, class, status, profile, definition, session, attempt, max_attempts, next_attempt_at, wait, cancel_requested_at,
	cancel_reason, outcome, failure_kind, last_seq, river_job_id, node, created_at, finalized_at`

// Process reads one process; ErrNotFound when there is none.
func (s *Store) Process(ctx context.Context, id string) (Process, error) {
	return one(ctx, s, "process", pgx.RowToStructByName[Process], "select "+processColumns+" from towpath.process($1)", id)
}

// Profile is a row of the view towpath.profiles.
type Profile struct {
	Name        string          `db:"name" json:"name"`
	Digest      string          `db:"digest" json:"digest"`
	Manifest    json.RawMessage `db:"manifest" json:"manifest"`
	Limits      json.RawMessage `db:"limits" json:"limits"`
	MaxAttempts int             `db:"max_attempts" json:"max_attempts"`
	TurnTimeout time.Duration   `db:"turn_timeout" json:"turn_timeout_ns"`
	Enabled     bool            `db:"enabled" json:"enabled"`
	Health      string          `db:"health" json:"health"`
}

// Profiles lists the registered backends by name.
func (s *Store) Profiles(ctx context.Context) ([]Profile, error) {
	return all(ctx, s, "profiles", pgx.RowToStructByName[Profile],
		"select name, digest, manifest, limits, max_attempts, turn_timeout, enabled, health from towpath.profiles order by name")
}

// PutProfile registers a backend or what changed of it; its health stays.
func (s *Store) PutProfile(ctx context.Context, p Profile, node string) error {
	return exec(ctx, s, "put profile", "select towpath.profile_put($1, $2, $3, $4, $5, $6, $7)",
		p.Name, p.Digest, p.Manifest, p.Limits, p.MaxAttempts, p.TurnTimeout, node)
}
