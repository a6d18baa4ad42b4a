package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// Storage is where the files of a session are.
type Storage struct {
	Session string `db:"session"`
	Kind    string `db:"kind"` // dir or pvc
	Root    string `db:"root"` // the id that lies in it, with pvc: before that of a namespace
	Name    string `db:"name"`
}

// PutStorage records storage that a node has made and returns its state. The same again is answered; ErrConflict says that
// it is elsewhere, ErrEvicted that it was. quota and ttl 0: none, and by retention.
func (s *Store) PutStorage(ctx context.Context, at Storage, shared bool, quota int64, ttl time.Duration) (string, error) {
	return one(ctx, s, "put storage", pgx.RowTo[string], "select towpath.storage_put($1, $2, $3, $4, $5, nullif($6::bigint, 0), nullif($7::interval, '0'))",
		at.Session, at.Kind, at.Root, shared, at.Name, quota, ttl)
}

// StorageSummary is what is known of a session's storage.
func (s *Store) StorageSummary(ctx context.Context, session string) (json.RawMessage, error) {
	return one(ctx, s, "storage summary", pgx.RowTo[json.RawMessage], "select towpath.storage_summary($1)", session)
}

// MeasuredStorage records what a refresh has found; false when the storage is no longer provisioned. files -1 and sha256 nil:
// unknown.
func (s *Store) MeasuredStorage(ctx context.Context, session string, bytes, files int64, sha256 []byte) (bool, error) {
	return one(ctx, s, "measured storage", pgx.RowTo[bool], "select towpath.storage_measured($1, $2, nullif($3::bigint, -1), $4)", session, bytes, files, sha256)
}

// DeleteStorage has the files of a session removed by the next gc, and returns the state of its storage.
func (s *Store) DeleteStorage(ctx context.Context, session, reason string) (string, error) {
	return one(ctx, s, "delete storage", pgx.RowTo[string], "select towpath.storage_delete($1, $2)", session, reason)
}

// DueStorage marks what has expired in these roots and returns all that is to be removed there, up to max.
func (s *Store) DueStorage(ctx context.Context, roots []string, max int) ([]Storage, error) {
	return all(ctx, s, "due storage", pgx.RowToStructByName[Storage], "select * from towpath.storage_due($1, $2)", roots, max)
}

// GoneStorage records of each session that its files are removed, or why they could not be; then they stay due.
func (s *Store) GoneStorage(ctx context.Context, outcomes map[string]error) error {
	var sessions []string
	var troubles []*string
	for session, trouble := range outcomes {
		var why *string
		if trouble != nil {
			why = new(trouble.Error())
		}
		sessions, troubles = append(sessions, session), append(troubles, why)
	}
	return exec(ctx, s, "gone storage", "select towpath.storage_gone($1, $2)", sessions, troubles)
}

// KnownStorage returns those of the names in a root that belong to a session.
func (s *Store) KnownStorage(ctx context.Context, root string, names []string) ([]string, error) {
	return all(ctx, s, "known storage", pgx.RowTo[string], "select towpath.storage_known($1, $2)", root, names)
}

// SetRoots says which storage roots a node has.
func (s *Store) SetRoots(ctx context.Context, n Node, roots []string) error {
	return exec(ctx, s, "node roots", "select towpath.node_roots($1, $2, $3)", n.ID, n.Incarnation, roots)
}

// CollectNow asks every node to collect, and returns the River job whose output is the report of one of them.
func (s *Store) CollectNow(ctx context.Context) (int64, error) {
	return one(ctx, s, "gc", pgx.RowTo[int64], "select towpath.gc_now()")
}

// WakeCollectors has every node collect now.
func (s *Store) WakeCollectors(ctx context.Context) error {
	return exec(ctx, s, "gc", "select pg_notify($1, $2)", ChannelControl, Collect)
}

// Collect is what WakeCollectors says on ChannelControl.
const Collect = "gc#" // no process id has a #

// ReportCollected puts on record what a node has collected.
func (s *Store) ReportCollected(ctx context.Context, node string, report any) error {
	return exec(ctx, s, "gc report", "select towpath.gc_report($1, $2)", node, report)
}
