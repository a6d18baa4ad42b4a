package queue

import (
	"encoding/json"
	"slices"
	"time"
)

// Kind names what a job does.
type Kind string

const (
	Turn        Kind = "turn"
	Start       Kind = "start"
	Stop        Kind = "stop"
	Restart     Kind = "restart"
	HealthCheck Kind = "health_check"
	Sweep       Kind = "sweep"
	Wake        Kind = "wake"
	GC          Kind = "gc"
	Prune       Kind = "prune"
	ScanPlugins Kind = "scan_plugins"
	Storage     Kind = "storage"
	Login       Kind = "login"
)

// The queues, as --queues names them.
const (
	Turns     = "turns"
	Lifecycle = "lifecycle"
	Upkeep    = "gc"
)

// trait is what the queue itself must know of a kind. The queue repeats towpath.queue_of, which a test compares.
type trait struct {
	kind    Kind
	queue   string
	timeout time.Duration // -1: none, and River never rescues it
}

var traits = []trait{
	{Turn, Turns, -1},
	{Start, Lifecycle, time.Minute},
	{Stop, Lifecycle, time.Minute},
	{Restart, Lifecycle, time.Minute},
	{HealthCheck, Lifecycle, time.Minute},
	{Sweep, Lifecycle, 30 * time.Second},
	{Wake, Lifecycle, 30 * time.Second},
	{GC, Upkeep, 15 * time.Minute},
	{Prune, Upkeep, 15 * time.Minute},
	{ScanPlugins, Upkeep, time.Minute},
	{Storage, Upkeep, 15 * time.Minute},
	{Login, Lifecycle, time.Minute},
}

// Kinds lists all job kinds.
func Kinds() []Kind {
	kinds := make([]Kind, len(traits))
	for i, t := range traits {
		kinds[i] = t.kind
	}
	return kinds
}

// Queues lists all queues.
func Queues() []string { return []string{Turns, Lifecycle, Upkeep} }

// Queue is where jobs of the kind wait; "" for a kind that is not ours.
func (k Kind) Queue() string {
	i := slices.IndexFunc(traits, func(t trait) bool { return t.kind == k })
	if i < 0 {
		return ""
	}
	return traits[i].queue
}

// TurnArgs are the args of a turn. A process that is already submitted is named by ProcessID and Generation; a client
// that inserts the row itself leaves these out and gives Profile and Input instead.
type TurnArgs struct {
	ProcessID  string `json:"process_id,omitempty"`
	Generation int    `json:"generation,omitempty"`

	Profile        string          `json:"profile,omitempty"`
	Input          json.RawMessage `json:"input,omitempty"`           // an object
	Session        string          `json:"session,omitempty"`         // default: a new one
	IdempotencyKey string          `json:"idempotency_key,omitempty"` // default: the row's id and created_at
	Options        json.RawMessage `json:"options,omitempty"`         // an object, as towpath.submit takes
}

// DaemonArgs are the args of start, stop, restart and health_check: a registered spec by name, from any client. A start or
// restart that is due names its process by ProcessID and Generation. A node's own health_check names the node.
type DaemonArgs struct {
	ProcessID  string `json:"process_id,omitempty"`
	Generation int    `json:"generation,omitempty"`

	Spec    string `json:"spec,omitempty"`
	Session string `json:"session,omitempty"` // the daemon's owner

	Node string `json:"node,omitempty"`
}

// LoginArgs are the args of login: towpath.login_start makes them.
type LoginArgs struct {
	LoginID string `json:"login_id"`
}

// WakeArgs are the args of wake: the session that is told which of its processes have ended.
type WakeArgs struct {
	Session string `json:"session"`
}
