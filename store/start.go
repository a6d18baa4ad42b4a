package store

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

// Start is a process to start. Class and Disposition are required; the comment of towpath.start lists the options.
type Start struct {
	Class       string // operation or external
	Disposition string // rerunnable, owner_bound or externally_owned
	Spec        json.RawMessage
	Options     StartOptions
}

// StartOptions are the options of a start; a zero field is left out.
type StartOptions struct {
	ID             string                     `json:"id,omitempty"`
	IdempotencyKey string                     `json:"idempotency_key,omitempty"`
	Tenant         string                     `json:"tenant,omitempty"`
	Project        string                     `json:"project,omitempty"`
	Session        string                     `json:"session,omitempty"`
	Parent         string                     `json:"parent,omitempty"`
	Priority       int                        `json:"priority,omitempty"` // 1 to 4
	MaxAttempts    int                        `json:"max_attempts,omitempty"`
	Env            json.RawMessage            `json:"env,omitempty"`    // content, or
	EnvID          string                     `json:"env_id,omitempty"` // its name
	EventTypes     map[string]json.RawMessage `json:"event_types,omitempty"`
	Share          []string                   `json:"share,omitempty"` // scopes
	Wake           string                     `json:"wake,omitempty"`  // the session that is told of its end
	Limit          int                        `json:"limit,omitempty"` // how many live processes may wake that session
	Originator     *Originator                `json:"originator,omitempty"`
	CausedBy       *Cause                     `json:"caused_by,omitempty"`
	Kind           string                     `json:"kind,omitempty"`
	Label          string                     `json:"label,omitempty"`
	Definition     string                     `json:"definition,omitempty"`
	ExternalRef    string                     `json:"external_ref,omitempty"`
}

// Originator is who started a process: a host, or a session with or without a frame.
type Originator struct {
	Host    string `json:"host,omitempty"`
	Session string `json:"session,omitempty"`
	Frame   string `json:"frame,omitempty"`
}

// Cause is what made the originator start it.
type Cause struct {
	Occurrence   string `json:"occurrence,omitempty"`
	Subscription string `json:"subscription,omitempty"`
}

// Start stores a process and returns its id; it is readable when Start returns. The same id or key and request give the
// same process, another request ErrIdempotency.
func (s *Store) Start(ctx context.Context, p Start) (string, error) {
	spec := p.Spec
	if spec == nil {
		spec = json.RawMessage("{}")
	}
	options, err := json.Marshal(p.Options)
	if err != nil {
		return "", wrap("start", err)
	}
	return one(ctx, s, "start", pgx.RowTo[string], "select towpath.start($1, $2, $3, $4)", p.Class, p.Disposition, spec, json.RawMessage(options))
}
