package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// ActionBusy is what a claim finds when somebody else has the lease.
const ActionBusy = "busy"

// Lease is what ClaimProcess found. Fence, Attempt, Spec and Env are set when Action is ActionRun.
type Lease struct {
	Action  string          `db:"action"`
	No      int64           `db:"process_no"`
	Fence   *int64          `db:"fence"`
	Attempt *int            `db:"attempt"`
	Spec    json.RawMessage `db:"spec"`
	Env     json.RawMessage `db:"env"`
	Holder  *string         `db:"holder"`      // node that has the lease now
	Until   *time.Time      `db:"lease_until"` // by the database's clock
	Detail  *string         `db:"detail"`

	id string
}

// Owner is the execution that the lease is of; only for ActionRun.
func (l Lease) Owner() Owner { return Owner{No: l.No, Fence: *l.Fence, ID: l.id} }

// ClaimProcess takes the lease of a process that is no turn. That somebody else has it is a result, not an error. ttl is
// at least three times renewEvery, the period in which the node calls Renew; 0 does not say.
func (s *Store) ClaimProcess(ctx context.Context, id string, n Node, ttl, renewEvery time.Duration) (Lease, error) {
	l, err := one(ctx, s, "claim process", pgx.RowToStructByName[Lease], claimProcessSQL, id, n.ID, n.Incarnation, ttl, renewEvery)
	if err == nil && l.Action == ActionRun {
		s.wakeReaders(id)
	}
	l.id = id
	return l, err
}

var claimProcessSQL = "select * from towpath.claim_process(" + later("$1::text") + ", $2, $3, $4, nullif($5, interval '0'))"

// Release gives a process back unharmed. It is false, and nothing happens, when o does not own it any more.
func (s *Store) Release(ctx context.Context, o Owner, reason string) (bool, error) {
	return one(ctx, s, "release", pgx.RowTo[bool], "select towpath.release($1, $2, $3)", o.No, o.Fence, reason)
}

// Resume puts a process that waits back in its queue.
func (s *Store) Resume(ctx context.Context, id string) error {
	return exec(ctx, s, "resume", "select towpath.resume($1)", id)
}

// Drained is what became of one owner-bound process of a node that shuts down.
type Drained struct {
	ID     string  `db:"process_id"`
	Result string  `db:"result"` // abandoned, or deferred: call Drain again
	Detail *string `db:"detail"`
}

// Drain abandons the owner-bound processes that n has started and stopped executing.
func (s *Store) Drain(ctx context.Context, n Node) ([]Drained, error) {
	return all(ctx, s, "drain", pgx.RowToStructByName[Drained], "select * from towpath.drain($1)", n.Incarnation)
}
