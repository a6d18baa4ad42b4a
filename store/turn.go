package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// What a claim found.
const (
	ActionRun    = "run"    // the lease is ours: execute
	ActionQueued = "queued" // submitted; an earlier turn of its session comes first
	ActionLater  = "later"  // a gate is shut: the job comes again by itself
	ActionSkip   = "skip"   // nothing to do, Detail says why

	ActionElsewhere = "elsewhere" // only a node with the files of its session may
)

// Claim is what one River job led to. Only Action and Detail are set unless Action is ActionRun.
type Claim struct {
	Action    string          `db:"action"`
	ProcessID *string         `db:"process_id"`
	No        *int64          `db:"process_no"`
	SessionID *string         `db:"session_id"`
	Profile   *string         `db:"profile"`
	Attempt   *int            `db:"attempt"`
	Fence     *int64          `db:"fence"`
	Input     json.RawMessage `db:"input"`
	InputID   *string         `db:"input_id"`
	Spec      json.RawMessage `db:"spec"`    // the submission's options
	Version   *int64          `db:"version"` // of the session snapshot
	Digest    []byte          `db:"digest"`  // of the session snapshot
	TimeoutMS *int64          `db:"timeout_ms"`
	LastSeq   *int64          `db:"last_seq"`
	Words     *bool           `db:"words"`  // something was said to it already: poll
	Resume    *bool           `db:"resume"` // it has a journal: replay that first
	Detail    *string         `db:"detail"`
}

// Owner is the execution that the claim is of; only for ActionRun.
func (c Claim) Owner() Owner { return Owner{No: *c.No, Fence: *c.Fence, ID: *c.ProcessID} }

// Claim takes the lease of the process that a River job names, for ttl; what a client's job carries it submits first.
func (s *Store) Claim(ctx context.Context, n Node, job int64, args json.RawMessage, ttl time.Duration) (Claim, error) {
	c, err := one(ctx, s, "claim", pgx.RowToStructByName[Claim], claimSQL, claimArgs(n, job, args, ttl)...)
	if err == nil {
		s.claimed(c)
	}
	return c, err
}

// claimed wakes the readers of what has begun.
func (s *Store) claimed(c Claim) {
	if c.Action == ActionRun {
		s.wakeReaders(*c.ProcessID)
	}
}

var claimSQL = claimBy("claim")

func claimBy(function string) string {
	return "select * from towpath." + function + "(" + later("$1::bigint") + ", $2, $3, $4, $5)"
}

func claimArgs(n Node, job int64, args json.RawMessage, ttl time.Duration) []any {
	return []any{job, args, n.ID, n.Incarnation, ttl}
}

// Owner names the execution that writes: a process by its number, and its fence. ID is for those who wait to read what it
// writes; without it, all readers of all processes look.
type Owner struct {
	No    int64
	Fence int64
	ID    string
}

// Batch is what one turn has to store: events in order, the ids of the inputs that its guest has observed, and a row of
// its journal.
type Batch struct {
	Owner   Owner
	Types   []string
	Data    []string // JSON objects
	Applied []string
	Journal Journal
}

// Empty reports whether there is nothing to store.
func (b Batch) Empty() bool { return len(b.Types) == 0 && len(b.Applied) == 0 && b.Journal.Count == 0 }

// Journal is one row of a turn's journal: Count packed entries, the first of which has number First.
type Journal struct {
	First   int             `db:"first_n"`
	Count   int             `db:"count"`
	Entries []byte          `db:"entries"`
	Open    json.RawMessage `db:"open"` // outside calls that are open after it, an array
	Fence   int64           `db:"fence"`
	At      time.Time       `db:"at"`
}

// Append stores the batches of many turns in one transaction. The result has the newest sequence number of each
// process whose owner is still the given one; a batch whose process is missing there was dropped.
func (s *Store) Append(ctx context.Context, batches []Batch) (map[int64]int64, error) {
	nos, fences := make([]int64, len(batches)), make([]int64, len(batches))
	var eventFences []int64
	var types, data []string
	applied := []string{}
	var journalFences []int64
	var first, count []int
	var entries [][]byte
	var open []string
	for i, b := range batches {
		nos[i], fences[i] = b.Owner.No, b.Owner.Fence
		for range b.Types {
			eventFences = append(eventFences, b.Owner.Fence)
		}
		types, data, applied = append(types, b.Types...), append(data, b.Data...), append(applied, b.Applied...)
		if j := b.Journal; j.Count > 0 {
			journalFences, first, count = append(journalFences, b.Owner.Fence), append(first, j.First), append(count, j.Count)
			entries, open = append(entries, j.Entries), append(open, string(j.Open))
		}
	}
	type row struct {
		No   int64 `db:"process_no"`
		Last int64 `db:"last_seq"`
	}
	rows, err := all(ctx, s, "append", pgx.RowToStructByName[row], appendSQL,
		nos, fences, list(eventFences), list(types), list(data), applied, list(journalFences), list(first), list(count), list(entries), list(open))
	if err != nil {
		return nil, err
	}
	stored := make(map[int64]int64, len(rows))
	for _, r := range rows {
		stored[r.No] = r.Last
	}
	var read []string
	for _, b := range batches {
		if _, ours := stored[b.Owner.No]; ours && len(b.Types) > 0 {
			read = append(read, b.Owner.ID)
		}
	}
	if len(read) > 0 {
		s.wakeReaders(read...)
	}
	return stored, nil
}

var appendSQL = "select * from towpath.append(" + later("$1::bigint[]") + ", $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"

// End is how a turn ends.
type End struct {
	Batch          // what was not yet appended
	Status  string // completed, failed, cancelled, abandoned
	Outcome json.RawMessage
	Kind    string // failure kind, for failed
	Keys    []string
	Values  [][]byte // "" deletes its key
	Base    *int64   // session version that the delta is against; nil leaves the session alone
}

// Finish ends a turn in one transaction. ErrFence: somebody else owns it now. ErrConflict: the session has moved on.
func (s *Store) Finish(ctx context.Context, e End) error {
	err := exec(ctx, s, "finish", finishSQL, finishArgs(e)...)
	if err == nil {
		s.wakeReaders(e.Owner.ID)
	}
	return err
}

var finishSQL = "select towpath.finish(" + later("$1::bigint") + ", $2, $3, $4, nullif($5, ''), $6, $7, $8, $9, $10, $11, $12, $13, $14)"

func finishArgs(e End) []any {
	var first, count *int
	var entries []byte
	if j := e.Journal; j.Count > 0 {
		first, count, entries = &j.First, &j.Count, j.Entries
	}
	return []any{e.Owner.No, e.Owner.Fence, e.Status, e.Outcome, e.Kind, list(e.Types), list(e.Data), list(e.Applied), list(e.Keys), list(e.Values),
		e.Base, first, count, entries}
}

func list[T any](l []T) []T {
	if l == nil {
		return []T{} // an empty array, where nil would be null
	}
	return l
}

// Retry gives a turn back to be tried again after delay. When its budget is spent it ends with outcome: failed with
// the given kind, or abandoned without one. refund is a drain: it costs no attempt. anew drops the journal. It returns
// the new status.
func (s *Store) Retry(ctx context.Context, o Owner, reason string, delay time.Duration, refund bool, outcome json.RawMessage, kind string, anew bool) (string, error) {
	return one(ctx, s, "retry", pgx.RowTo[string], "select towpath.retry($1, $2, $3, $4, $5, $6, nullif($7, ''), $8)",
		o.No, o.Fence, reason, delay, refund, outcome, kind, anew)
}

// Renew extends every lease of the node and returns those that it still holds, by process number.
func (s *Store) Renew(ctx context.Context, n Node, ttl time.Duration) (map[int64]int64, error) {
	return s.RenewOnly(ctx, n, ttl, nil)
}

// RenewOnly is Renew for the given processes, which the node is executing; its other leases lapse. nil means all.
func (s *Store) RenewOnly(ctx context.Context, n Node, ttl time.Duration, executing []int64) (map[int64]int64, error) {
	type row struct {
		No    int64 `db:"process_no"`
		Fence int64 `db:"fence"`
	}
	rows, err := all(ctx, s, "renew", pgx.RowToStructByName[row], "select * from towpath.renew($1, $2, $3, $4)", n.ID, n.Incarnation, ttl, executing)
	if err != nil {
		return nil, err
	}
	held := make(map[int64]int64, len(rows))
	for _, r := range rows {
		held[r.No] = r.Fence
	}
	return held, nil
}

// Word is something that the owner of a turn has to hear: Kind is cancel, steer or answer.
type Word struct {
	No      int64           `db:"process_no"`
	Kind    string          `db:"kind"`
	ID      *string         `db:"id"` // of the input
	Payload json.RawMessage `db:"payload"`
}

// Poll returns what the owners have to hear. An input comes again until it is applied.
func (s *Store) Poll(ctx context.Context, owners []Owner) ([]Word, error) {
	nos, fences := make([]int64, len(owners)), make([]int64, len(owners))
	for i, o := range owners {
		nos[i], fences[i] = o.No, o.Fence
	}
	return all(ctx, s, "poll", pgx.RowToStructByName[Word], "select * from towpath.poll($1, $2)", nos, fences)
}

// KVGet reads a key of a session's snapshot; nil when it has none.
func (s *Store) KVGet(ctx context.Context, session, key string) ([]byte, error) {
	return one(ctx, s, "kv get", pgx.RowTo[[]byte], "select towpath.kv_get($1, $2)", session, key)
}

// Sweep repairs processes whose owner or job is gone, at most max of them, and returns their ids. The leases of dead,
// an incarnation that is known to have died, count as lapsed; uuid.Nil names none.
func (s *Store) Sweep(ctx context.Context, ttl time.Duration, dead uuid.UUID, max int) ([]string, error) {
	var ids []string
	for len(ids) < max {
		id, err := one(ctx, s, "sweep", pgx.RowTo[*string], "select towpath.sweep($1, nullif($2::uuid, $3::uuid))", ttl, dead, uuid.Nil)
		if err != nil || id == nil {
			return ids, err
		}
		ids = append(ids, *id)
	}
	return ids, nil
}
