package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Submission is one turn to submit. Input is a JSON object; Session, Key and Options may be empty.
type Submission struct {
	Profile string          `json:"profile"`
	Input   json.RawMessage `json:"input"`
	Session string          `json:"session,omitempty"`
	Key     string          `json:"idempotency_key,omitempty"`
	Options json.RawMessage `json:"options,omitempty"`
}

// Submit stores a turn and returns its process id; the same Key and request give the same id, the same Key with
// another request ErrIdempotency.
func (s *Store) Submit(ctx context.Context, t Submission) (string, error) {
	options := t.Options
	if options == nil {
		options = json.RawMessage("{}")
	}
	return one(ctx, s, "submit", pgx.RowTo[string],
		"select towpath.submit($1, $2, nullif($3, ''), nullif($4, ''), $5)", t.Profile, t.Input, t.Session, t.Key, options)
}

// SubmitMany stores turns in one transaction, all or none, and returns their ids in the order given.
func (s *Store) SubmitMany(ctx context.Context, turns []Submission) ([]string, error) {
	items, err := json.Marshal(turns)
	if err != nil {
		return nil, wrap("submit many", err)
	}
	return all(ctx, s, "submit many", pgx.RowTo[string], "select process_id from towpath.submit_many($1) order by item", json.RawMessage(items))
}

// Steer says something to a turn that has not ended and returns the input's id.
func (s *Store) Steer(ctx context.Context, id string, content json.RawMessage, key string) (string, error) {
	return one(ctx, s, "steer", pgx.RowTo[string], "select towpath.steer($1, $2, nullif($3, ''))", id, content, key)
}

// Answer answers what a running turn asked and returns the input's id.
func (s *Store) Answer(ctx context.Context, id string, content json.RawMessage, key string) (string, error) {
	return one(ctx, s, "answer", pgx.RowTo[string], "select towpath.answer($1, $2, nullif($3, ''))", id, content, key)
}

// Approve decides what a running turn waits to be allowed and returns the input's id. An empty approval is the only one
// that waits.
func (s *Store) Approve(ctx context.Context, id, approval, decision, key string) (string, error) {
	return one(ctx, s, "approve", pgx.RowTo[string], "select towpath.approve($1, nullif($2, ''), $3, nullif($4, ''))", id, approval, decision, key)
}

// Approval is what a running turn waits to be allowed.
type Approval struct {
	Process, Session, Profile, Approval, Of string
	Command, CWD, Reason                    *string
	Choices                                 []string
	Since                                   time.Time
}

// Approvals lists what running turns wait for, the oldest first.
func (s *Store) Approvals(ctx context.Context) ([]Approval, error) {
	return all(ctx, s, "approvals", pgx.RowToStructByPos[Approval],
		"select process, session, profile, approval, of, command, cwd, reason, choices, since from towpath.approvals order by since, process, seq")
}

// Interrupt ends a turn within a second and returns its status as it is now.
func (s *Store) Interrupt(ctx context.Context, id, reason string) (string, error) {
	return one(ctx, s, "interrupt", pgx.RowTo[string], "select towpath.interrupt($1, $2)", id, reason)
}

// Cancel ends what has not started, and asks what runs; it is killed after the grace. It returns the status as it is now.
func (s *Store) Cancel(ctx context.Context, id, reason string, grace time.Duration) (string, error) {
	return one(ctx, s, "cancel", pgx.RowTo[string], "select towpath.cancel($1, $2, $3)", id, reason, grace)
}
