package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Session is a conversation, bound for life to a tenant, a project and a profile.
type Session struct {
	ID            string          `db:"id" json:"id"`
	Tenant        string          `db:"tenant" json:"tenant"`
	Project       string          `db:"project" json:"project"`
	Profile       string          `db:"profile" json:"profile"`
	Title         *string         `db:"title" json:"title,omitempty"`
	Metadata      json.RawMessage `db:"metadata" json:"metadata"`
	State         string          `db:"state" json:"state"` // idle, running, retired, stopping, stopped, destroyed
	ActiveProcess *string         `db:"active_process" json:"active_process,omitempty"`
	ActiveRun     *string         `db:"active_run" json:"active_run,omitempty"`
	LastProcess   *string         `db:"last_process" json:"last_process,omitempty"` // the turn that ended last
	LastStatus    *string         `db:"last_status" json:"last_status,omitempty"`
	LastFailure   *string         `db:"last_failure" json:"last_failure,omitempty"`
	Quarantine    *string         `db:"quarantine" json:"quarantine,omitempty"` // why nothing happens in it
	Version       int64           `db:"version" json:"version"`                 // of its snapshot
	ChangeNo      int64           `db:"change_no" json:"change_no"`             // of its newest visible change
	Unread        *bool           `db:"unread" json:"unread,omitempty"`         // nil without a reader
	CreatedAt     time.Time       `db:"created_at" json:"created_at"`
	UpdatedAt     time.Time       `db:"updated_at" json:"updated_at"`
}

// Session reads one session, for a reader or for nobody (""). ErrNotFound when there is none.
func (s *Store) Session(ctx context.Context, id, reader string) (Session, error) {
	return one(ctx, s, "session", pgx.RowToStructByName[Session], "select * from towpath.session_summary($1, nullif($2, ''))", id, reader)
}

// ListedSession is a session in a list, at its place.
type ListedSession struct {
	Place string `db:"place" json:"place"`
	Session
}

// ListSessions lists sessions newest first, at most max after a place ("" begins). The comment of towpath.session_list has
// the filter's keys.
func (s *Store) ListSessions(ctx context.Context, filter map[string]string, after string, max int) ([]ListedSession, error) {
	if filter == nil {
		filter = map[string]string{}
	}
	keys, err := json.Marshal(filter)
	if err != nil {
		return nil, wrap("list sessions", err)
	}
	return all(ctx, s, "list sessions", pgx.RowToStructByName[ListedSession],
		"select * from towpath.session_list($1, nullif($2, ''), $3)", json.RawMessage(keys), after, max)
}

// MarkRead notes that a reader has seen everything of a session, and returns the change number that this is.
func (s *Store) MarkRead(ctx context.Context, reader, session string) (int64, error) {
	return one(ctx, s, "mark read", pgx.RowTo[int64], "select towpath.mark_read($1, $2)", reader, session)
}

// ControlSession changes what a session does: retire, reset, stop, resume, destroy or recycle. It returns the session's
// state. ErrConflict: not from the state it is in.
func (s *Store) ControlSession(ctx context.Context, session, action, reason string) (string, error) {
	return one(ctx, s, "control session", pgx.RowTo[string], "select towpath.session_control($1, $2, nullif($3, ''))", session, action, reason)
}

// TraceItem is one event of one turn of a session.
type TraceItem struct {
	Process string          `json:"process"`
	Turn    int64           `json:"turn"`
	Seq     int64           `json:"seq"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
	At      time.Time       `json:"at"`
}

// TracePage is a part of what the turns of a session have said. Next is where to read on; More says that there is more
// already.
type TracePage struct {
	Items []TraceItem `json:"items"`
	Next  string      `json:"next"`
	More  bool        `json:"more"`
}

// Trace reads what the turns of a session, or of one of its runs (""  is all of them), have said, in order, after a place
// ("" begins). output leaves out all but what was meant for people; such a page may be empty and still move Next.
func (s *Store) Trace(ctx context.Context, session, run, after string, max int, output bool) (TracePage, error) {
	return one(ctx, s, "trace", pgx.RowTo[TracePage], "select towpath.session_trace($1, nullif($2, ''), nullif($3, ''), $4, $5)",
		session, run, after, max, output)
}
