package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// NewTask is a task to put into a queue. Payload, an object, is what is to be done; the comment of towpath.task_create
// lists the options.
type NewTask struct {
	Queue   string
	Payload json.RawMessage
	Key     string // of idempotency, per tenant and project
	Options TaskOptions
}

// TaskOptions are the options of a task; a zero field is left out.
type TaskOptions struct {
	ID         string          `json:"id,omitempty"`
	Tenant     string          `json:"tenant,omitempty"`
	Project    string          `json:"project,omitempty"`
	Lane       string          `json:"lane,omitempty"`
	Title      string          `json:"title,omitempty"`
	Priority   int             `json:"priority,omitempty"` // the highest first
	Profile    string          `json:"profile,omitempty"`
	References json.RawMessage `json:"references,omitempty"` // an array
	Spec       json.RawMessage `json:"spec,omitempty"`       // an object
	Metadata   json.RawMessage `json:"metadata,omitempty"`   // an object
}

// CreateTask puts a task into a queue and returns its id. The same Key and request give the same task, another request
// ErrIdempotency.
func (s *Store) CreateTask(ctx context.Context, t NewTask) (string, error) {
	options, err := json.Marshal(t.Options)
	if err != nil {
		return "", wrap("create task", err)
	}
	return one(ctx, s, "create task", pgx.RowTo[string], "select task_id from towpath.task_create($1, $2, nullif($3, ''), $4)",
		t.Queue, t.Payload, t.Key, json.RawMessage(options))
}

// Task is a task without what is to be done.
type Task struct {
	ID            string          `db:"id" json:"id"`
	Tenant        string          `db:"tenant" json:"tenant"`
	Project       string          `db:"project" json:"project"`
	Queue         string          `db:"queue" json:"queue"`
	Lane          string          `db:"lane" json:"lane"`
	Title         *string         `db:"title" json:"title,omitempty"`
	Priority      int             `db:"priority" json:"priority"`
	State         string          `db:"state" json:"state"`
	Profile       *string         `db:"profile" json:"profile,omitempty"`
	References    json.RawMessage `db:"refs" json:"refs"`
	Metadata      json.RawMessage `db:"metadata" json:"metadata"`
	Spec          json.RawMessage `db:"spec" json:"spec"`
	Attempts      int             `db:"attempts" json:"attempts"`
	AttemptID     *string         `db:"attempt_id" json:"attempt_id,omitempty"` // of the newest: a run's, if it was dispatched
	LatestAttempt json.RawMessage `db:"latest_attempt" json:"latest_attempt,omitempty"`
	SessionPath   *string         `db:"session_path" json:"session_path,omitempty"`
	CancelReason  *string         `db:"cancel_reason" json:"cancel_reason,omitempty"`
	ChangeNo      int64           `db:"change_no" json:"change_no"`
	CreatedAt     time.Time       `db:"created_at" json:"created_at"`
	UpdatedAt     time.Time       `db:"updated_at" json:"updated_at"`
	FinalizedAt   *time.Time      `db:"finalized_at" json:"finalized_at,omitempty"`
}

// Final reports whether the task has ended for good.
func (t Task) Final() bool { return t.FinalizedAt != nil }

// WholeTask is a task with what is to be done.
type WholeTask struct {
	Task
	Payload json.RawMessage `db:"payload" json:"payload"`
}

// Task reads one task. ErrNotFound when there is none.
func (s *Store) Task(ctx context.Context, id string) (WholeTask, error) {
	return one(ctx, s, "task", pgx.RowToStructByName[WholeTask], "select * from towpath.task($1)", id)
}

// AttemptTask says how an attempt at a task stands: detail is an object with its id. session may be empty. ErrConflict:
// the task has ended, or has a newer attempt.
func (s *Store) AttemptTask(ctx context.Context, id, state string, detail json.RawMessage, session string) error {
	return exec(ctx, s, "attempt task", "select towpath.task_attempt($1, $2, $3, nullif($4, ''))", id, state, detail, session)
}

// CancelTask cancels a task, with the run that it became, and returns its state: one that has ended keeps its end.
func (s *Store) CancelTask(ctx context.Context, id, reason string) (string, error) {
	return one(ctx, s, "cancel task", pgx.RowTo[string], "select towpath.task_cancel($1, $2)", id, reason)
}

// DispatchTask makes a task a run, in a session or a new one (""), and returns the run's id.
func (s *Store) DispatchTask(ctx context.Context, id, session string) (string, error) {
	return one(ctx, s, "dispatch task", pgx.RowTo[string], "select towpath.task_dispatch($1, nullif($2, ''))", id, session)
}

// RefreshTask takes over how a task's run has ended, and returns the task's state.
func (s *Store) RefreshTask(ctx context.Context, id string) (string, error) {
	return one(ctx, s, "refresh task", pgx.RowTo[string], "select towpath.task_refresh($1)", id)
}

// ReadTask notes that a reader has seen a task up to a change number, nil is its newest, and returns that.
func (s *Store) ReadTask(ctx context.Context, reader, id string, changeNo *int64) (int64, error) {
	return one(ctx, s, "read task", pgx.RowTo[int64], "select towpath.task_read($1, $2, $3)", reader, id, changeNo)
}

// ListedTask is a task in a list or a feed, at its place.
type ListedTask struct {
	Place string `db:"place" json:"place"`
	Task
	Unread *bool `db:"unread" json:"unread,omitempty"` // nil without a reader
}

// ListTasks lists tasks in the order in which they are to be done, at most max after a place ("" begins). The comment of
// towpath.task_list has the filter's keys.
func (s *Store) ListTasks(ctx context.Context, filter map[string]string, after string, max int) ([]ListedTask, error) {
	keys, err := keysOf(filter)
	if err != nil {
		return nil, wrap("list tasks", err)
	}
	return all(ctx, s, "list tasks", pgx.RowToStructByName[ListedTask],
		"select l.place, (l.task).*, l.unread from towpath.task_list($1, nullif($2, ''), $3) l", keys, after, max)
}

// TaskChanges reads which tasks have changed after a cursor, in the order of transactions; "" begins, and queue may be
// empty. None keeps the cursor. ErrResync: the database was restored since.
func (s *Store) TaskChanges(ctx context.Context, cursor string, max int, queue string) ([]ListedTask, error) {
	return all(ctx, s, "task changes", pgx.RowToStructByNameLax[ListedTask],
		"select l.place, (l.task).* from towpath.task_changes($1, $2, nullif($3, '')) l", cursor, max, queue)
}

// TaskStats says how many tasks there are.
type TaskStats struct {
	Total  int64            `json:"total"`
	Live   int64            `json:"live"`
	States map[string]int64 `json:"states"`
	Queues map[string]int64 `json:"queues"`
	Lanes  map[string]int64 `json:"lanes"`
}

// Commander is what somebody who directs a queue looks at: how much there is, and what comes first.
type Commander struct {
	Stats       TaskStats `json:"stats"`
	Items       []Task    `json:"items"`
	GeneratedAt time.Time `json:"generated_at"`
}

// Commander reads the counts of tasks and the top ones. filter: tenant, project, queue, lane.
func (s *Store) Commander(ctx context.Context, filter map[string]string, top int) (Commander, error) {
	keys, err := keysOf(filter)
	if err != nil {
		return Commander{}, wrap("commander", err)
	}
	return one(ctx, s, "commander", pgx.RowTo[Commander], "select towpath.task_commander($1, $2)", keys, top)
}

func keysOf(filter map[string]string) (json.RawMessage, error) {
	if filter == nil {
		return json.RawMessage("{}"), nil
	}
	return json.Marshal(filter)
}
