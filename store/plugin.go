package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"
)

// ChannelPlugin says which profile has changed.
const ChannelPlugin = "towpath_plugin"

// WakePlugins has every node look at its profiles now.
func (s *Store) WakePlugins(ctx context.Context) error {
	return exec(ctx, s, "scan of plugins", "select pg_notify($1, '*')", ChannelPlugin)
}

// Plugin is a module that is to be the present one of a profile.
type Plugin struct {
	Profile
	Module []byte // Digest is its SHA-256, hex
	Who    string // added it: a node's or a person's name
	Again  bool   // although it was superseded or removed before
}

// PutPlugin makes a module the present one of a profile, on all nodes. It returns the digest of the present one: another
// than the plugin's, or "", when that was superseded or removed before and Again is false.
func (s *Store) PutPlugin(ctx context.Context, p Plugin) (string, error) {
	return one(ctx, s, "put plugin", pgx.RowTo[string], "select present from towpath.plugin_put($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		p.Name, p.Digest, p.Module, p.Manifest, p.Limits, p.MaxAttempts, p.TurnTimeout, p.Who, p.Again)
}

// DescribePlugin says what a node's permits make of the present module of a profile; it has no effect on another one.
func (s *Store) DescribePlugin(ctx context.Context, p Profile, who string) error {
	return exec(ctx, s, "describe plugin", "select towpath.plugin_describe($1, $2, $3, $4, $5, $6)", p.Name, p.Digest, p.Limits, p.MaxAttempts, p.TurnTimeout, who)
}

// RemovePlugin serves a profile no more; with a digest only while that is the present one. It reports whether anything
// changed.
func (s *Store) RemovePlugin(ctx context.Context, name, who, digest string) (bool, error) {
	return one(ctx, s, "remove plugin", pgx.RowTo[bool], "select towpath.plugin_remove($1, $2, nullif($3, ''))", name, who, digest)
}

// Served is what every node is to serve under a name.
type Served struct {
	Name       string          `db:"name" json:"name"`
	Digest     string          `db:"digest" json:"digest"`
	Manifest   json.RawMessage `db:"manifest" json:"manifest"`
	Limits     json.RawMessage `db:"limits" json:"limits"`
	Enabled    bool            `db:"enabled" json:"enabled"`
	RemovedAt  *time.Time      `db:"removed_at" json:"removed_at,omitempty"`
	RemovedBy  *string         `db:"removed_by" json:"removed_by,omitempty"`
	AddedBy    *string         `db:"added_by" json:"added_by,omitempty"` // nil: its module is not in the database
	AddedAt    *time.Time      `db:"added_at" json:"added_at,omitempty"`
	Superseded []string        `db:"superseded" json:"superseded,omitempty"` // digests, newest first
	Permits    *string         `db:"permits" json:"permits,omitempty"`       // given by SQL, in the form of a permit file
	PermitsBy  *string         `db:"permits_by" json:"permits_by,omitempty"`
}

// Plugins lists what every node is to serve, by name.
func (s *Store) Plugins(ctx context.Context) ([]Served, error) {
	return all(ctx, s, "plugins", pgx.RowToStructByName[Served], "select * from towpath.plugins()")
}

// Module reads a module by its digest; nil when it is gone.
func (s *Store) Module(ctx context.Context, digest string) ([]byte, error) {
	return one(ctx, s, "module", pgx.RowTo[[]byte], "select towpath.plugin_module($1)", digest)
}

// Permit gives a profile's permits, in the form of a permit file, to all nodes without a file of their own for it;
// nil takes them back.
func (s *Store) Permit(ctx context.Context, profile string, body *string, who string) error {
	return exec(ctx, s, "permit", "select towpath.permit($1, $2, $3)", profile, body, who)
}

// PluginLine is one line about a profile.
type PluginLine struct {
	ID    int64     `db:"id" json:"id"`
	At    time.Time `db:"at" json:"at"`
	Node  string    `db:"node" json:"node"`
	Level string    `db:"level" json:"level"` // info, warn or error
	Line  string    `db:"line" json:"line"`
}

// NotePlugin stores lines about a profile.
func (s *Store) NotePlugin(ctx context.Context, profile, node string, levels, lines []string) error {
	return exec(ctx, s, "note plugin", "select towpath.plugin_note($1, $2, $3, $4)", profile, node, levels, lines)
}

// PluginLines reads the newest lines about a profile after a given one, in order.
func (s *Store) PluginLines(ctx context.Context, profile string, after int64, limit int) ([]PluginLine, error) {
	return all(ctx, s, "plugin lines", pgx.RowToStructByName[PluginLine], "select * from towpath.plugin_lines($1, $2, $3)", profile, after, limit)
}

// SQLPermit is what was permitted by SQL.
type SQLPermit struct {
	Profile   string    `db:"profile" json:"profile"`
	Body      string    `db:"body" json:"body"`
	ChangedBy string    `db:"changed_by" json:"changed_by"`
	ChangedAt time.Time `db:"changed_at" json:"changed_at"`
}

// Permits lists what was permitted by SQL, by profile.
func (s *Store) Permits(ctx context.Context) ([]SQLPermit, error) {
	return all(ctx, s, "permits", pgx.RowToStructByName[SQLPermit], "select * from towpath.permits()")
}

// JournalledTurns lists turns of a profile that have ended and whose journal is whole, newest first.
func (s *Store) JournalledTurns(ctx context.Context, profile string, limit int) ([]string, error) {
	return all(ctx, s, "journalled turns", pgx.RowTo[string], "select towpath.journalled($1, $2)", profile, limit)
}
