package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Daemon is a row of the view towpath.daemons, which says what the columns mean.
type Daemon struct {
	Name          string          `db:"name" json:"name"`
	State         string          `db:"state" json:"state"`
	Process       *string         `db:"process" json:"process,omitempty"`
	Session       *string         `db:"session" json:"session,omitempty"`
	Health        *string         `db:"health" json:"health,omitempty"`
	Detail        *string         `db:"detail" json:"detail,omitempty"`
	PID           *int            `db:"pid" json:"pid,omitempty"`
	Port          *int            `db:"port" json:"port,omitempty"`
	Node          *string         `db:"node" json:"node,omitempty"`
	Machine       *string         `db:"machine" json:"machine,omitempty"`
	StartedAt     *time.Time      `db:"started_at" json:"started_at,omitempty"`
	ReadyAt       *time.Time      `db:"ready_at" json:"ready_at,omitempty"`
	CheckedAt     *time.Time      `db:"checked_at" json:"checked_at,omitempty"`
	Restarts      *int            `db:"restarts" json:"restarts,omitempty"`
	MaxRestarts   *int            `db:"max_restarts" json:"max_restarts,omitempty"`
	Attempt       *int            `db:"attempt" json:"attempt,omitempty"`
	NextAttemptAt *time.Time      `db:"next_attempt_at" json:"next_attempt_at,omitempty"`
	ExitCode      *int            `db:"exit_code" json:"exit_code,omitempty"`
	ExitSignal    *string         `db:"exit_signal" json:"exit_signal,omitempty"`
	LastEnd       *string         `db:"last_end" json:"last_end,omitempty"`
	FailureKind   *string         `db:"failure_kind" json:"failure_kind,omitempty"`
	Outcome       json.RawMessage `db:"outcome" json:"outcome,omitempty"`
	RiverJobID    *int64          `db:"river_job_id" json:"river_job_id,omitempty"`
	CreatedAt     *time.Time      `db:"created_at" json:"created_at,omitempty"`
	FinalizedAt   *time.Time      `db:"finalized_at" json:"finalized_at,omitempty"`
}

// Spec is a registered daemon.
type Spec struct {
	Name string          `db:"name" json:"name"`
	Spec json.RawMessage `db:"spec" json:"spec"`
}

// PutSpec registers a daemon by name, as an operator.
func (s *Store) PutSpec(ctx context.Context, name string, spec json.RawMessage) error {
	return exec(ctx, s, "put spec", "select towpath.spec_put($1, $2)", name, spec)
}

// DeleteSpec forgets a daemon that does not run; false when there was none.
func (s *Store) DeleteSpec(ctx context.Context, name string) (bool, error) {
	return one(ctx, s, "delete spec", pgx.RowTo[bool], "select towpath.spec_delete($1)", name)
}

// Specs lists the registered daemons with all that their specs say.
func (s *Store) Specs(ctx context.Context) ([]Spec, error) {
	return all(ctx, s, "specs", pgx.RowToStructByName[Spec], "select * from towpath.specs()")
}

// StartDaemon starts a registered daemon and returns its new process; with a key that was used, the process of that use.
func (s *Store) StartDaemon(ctx context.Context, name, session, key string) (string, error) {
	return one(ctx, s, "start daemon", pgx.RowTo[string], "select towpath.daemon_start($1, nullif($2, ''), nullif($3, ''))", name, session, key)
}

// RestartDaemon has a daemon's child replaced, or starts one that does not run, and returns the process.
func (s *Store) RestartDaemon(ctx context.Context, name, session, key string) (string, error) {
	return one(ctx, s, "restart daemon", pgx.RowTo[string], "select towpath.daemon_restart($1, nullif($2, ''), nullif($3, ''))", name, session, key)
}

// StopDaemon stops a daemon and returns its state: stopped, or stopping until its worker has ended the child.
func (s *Store) StopDaemon(ctx context.Context, name, session, reason string) (string, error) {
	return one(ctx, s, "stop daemon", pgx.RowTo[string], "select towpath.daemon_stop($1, nullif($2, ''), coalesce(nullif($3, ''), 'stopped'))", name, session, reason)
}

// StoppedDaemon is what became of one daemon of a StopDaemons: its state, or the error that kept it.
type StoppedDaemon struct {
	Name  string  `db:"name"`
	State *string `db:"state"`
	Error *string `db:"error"`
}

// StopDaemons stops all daemons of a session; "" is those of none.
func (s *Store) StopDaemons(ctx context.Context, session string) ([]StoppedDaemon, error) {
	return all(ctx, s, "stop daemons", pgx.RowToStructByName[StoppedDaemon], "select * from towpath.daemon_stop_all(nullif($1, ''))", session)
}

// CheckDaemon asks for a look at a daemon's health, and returns when: its CheckedAt is later once that has been done.
func (s *Store) CheckDaemon(ctx context.Context, name string) (time.Time, error) {
	return one(ctx, s, "check daemon", pgx.RowTo[time.Time], "select towpath.daemon_check($1)", name)
}

// Daemon reads one daemon; ErrNotFound when none of that name is registered.
func (s *Store) Daemon(ctx context.Context, name string) (Daemon, error) {
	return one(ctx, s, "daemon", pgx.RowToStructByName[Daemon], "select "+daemonColumns+" from towpath.daemon_status($1)", name)
}

// Daemons lists all daemons by name.
func (s *Store) Daemons(ctx context.Context) ([]Daemon, error) {
	return all(ctx, s, "daemons", pgx.RowToStructByName[Daemon], "select "+daemonColumns+" from towpath.daemon_status()")
}

const daemonColumns = `name, state, process, session, health, detail, pid, port, node, machine, started_at, ready_at, checked_at, restarts, max_restarts,
	attempt, next_attempt_at, exit_code, exit_signal, last_end, failure_kind, outcome, river_job_id, created_at, finalized_at`

// Census is what the rows tell of a node's daemons.
type Census struct {
	Daemons   int      `db:"daemons" json:"daemons"`
	Ready     int      `db:"ready" json:"ready"`
	Unhealthy []string `db:"unhealthy" json:"unhealthy"`
	Overdue   []string `db:"overdue" json:"overdue"` // their worker has not looked at them in time
}

// DaemonCensus counts the daemons of a node.
func (s *Store) DaemonCensus(ctx context.Context, node string) (Census, error) {
	return one(ctx, s, "daemon census", pgx.RowToStructByName[Census], "select * from towpath.daemon_census($1)", node)
}

// Place is where children are: the same pid in another place is a stranger.
type Place struct {
	Machine string
	Boot    string // the machine's run, and the space of process numbers in it
}

// DaemonClaim is what ClaimDaemon found; only with ActionRun is there more than a detail.
type DaemonClaim struct {
	Action   string          `db:"action"`
	No       *int64          `db:"process_no"`
	Name     *string         `db:"name"`
	Fence    *int64          `db:"fence"`
	Attempt  *int            `db:"attempt"`
	Spec     json.RawMessage `db:"spec"`
	Outlives *bool           `db:"outlives"`
	Detail   *string         `db:"detail"`
}

// ClaimDaemon takes the lease of a daemon that is due; its child is about to be at a place.
func (s *Store) ClaimDaemon(ctx context.Context, id string, generation int, job int64, n Node, ttl time.Duration, at Place) (DaemonClaim, error) {
	return one(ctx, s, "claim daemon", pgx.RowToStructByName[DaemonClaim], "select * from towpath.daemon_claim($1, $2, $3, $4, $5, $6, $7, $8)",
		id, generation, job, n.ID, n.Incarnation, ttl, at.Machine, at.Boot)
}

// DaemonPort keeps a port of the machine for a daemon; false when another daemon has it.
func (s *Store) DaemonPort(ctx context.Context, o Owner, port int) (bool, error) {
	return one(ctx, s, "daemon port", pgx.RowTo[bool], "select towpath.daemon_port($1, $2, $3)", o.No, o.Fence, port)
}

// DaemonChild records a daemon's child, and whether it is ready for work.
func (s *Store) DaemonChild(ctx context.Context, o Owner, pid int, start uint64, ready bool) error {
	return exec(ctx, s, "daemon child", "select towpath.daemon_child($1, $2, $3, $4, $5)", o.No, o.Fence, pid, int64(start), ready)
}

// DaemonExit is how a child ended, as far as it is known.
type DaemonExit struct {
	Reason string
	Code   *int
	Signal *string
	Refund bool // not the daemon's fault: costs nothing of its budget
}

// ExitDaemon ends an attempt and returns the process's status: what the restart policy made of it.
func (s *Store) ExitDaemon(ctx context.Context, o Owner, e DaemonExit) (string, error) {
	return one(ctx, s, "exit daemon", pgx.RowTo[string], "select towpath.daemon_exit($1, $2, $3, $4, $5, $6)", o.No, o.Fence, e.Reason, e.Code, e.Signal, e.Refund)
}

// ParkDaemon leaves a daemon running for the next worker of its machine.
func (s *Store) ParkDaemon(ctx context.Context, o Owner, reason string) error {
	return exec(ctx, s, "park daemon", "select towpath.daemon_park($1, $2, $3)", o.No, o.Fence, reason)
}

// DaemonHealth is what a check found.
type DaemonHealth struct {
	Owner
	Health string
	Detail string
}

// CheckedDaemons records the health of many daemons in one statement.
func (s *Store) CheckedDaemons(ctx context.Context, found []DaemonHealth) error {
	n := len(found)
	nos, fences, healths, details := make([]int64, n), make([]int64, n), make([]string, n), make([]string, n)
	for i, f := range found {
		nos[i], fences[i], healths[i], details[i] = f.No, f.Fence, f.Health, f.Detail
	}
	return exec(ctx, s, "checked daemons", "select count(*) from towpath.daemon_checked($1, $2, $3, $4)", nos, fences, healths, details)
}

// DaemonWish is what somebody wants of a daemon that this node runs.
type DaemonWish struct {
	No      int64      `db:"process_no"`
	Fence   int64      `db:"fence"`
	Stop    bool       `db:"stop"`
	GraceMS *int64     `db:"grace_ms"` // what is left of it, with Stop
	Restart bool       `db:"restart"`
	CheckAt *time.Time `db:"check_at"`
}

// DaemonWishes asks what is wanted of a node's daemons.
func (s *Store) DaemonWishes(ctx context.Context, n Node) ([]DaemonWish, error) {
	return all(ctx, s, "daemon wishes", pgx.RowToStructByName[DaemonWish], "select * from towpath.daemon_wishes($1)", n.Incarnation)
}

// Orphan is a daemon whose child may live, and whose worker may be dead.
type Orphan struct {
	ID      string          `db:"process_id"`
	No      int64           `db:"process_no"`
	Name    string          `db:"name"`
	Spec    json.RawMessage `db:"spec"`
	Attempt int             `db:"attempt"`
	Boot    string          `db:"boot"`
	PID     *int            `db:"pid"`
	Start   *int64          `db:"pid_start"`
	Port    *int            `db:"port"`
	Ready   bool            `db:"ready"`
	Worker  uuid.UUID       `db:"owner"` // incarnation of the worker that must be dead
	Leased  bool            `db:"leased"`
}

// DaemonOrphans lists the daemons of a machine that are not n's.
func (s *Store) DaemonOrphans(ctx context.Context, machine string, n Node) ([]Orphan, error) {
	return all(ctx, s, "daemon orphans", pgx.RowToStructByName[Orphan], "select * from towpath.daemon_orphans($1, $2)", machine, n.Incarnation)
}

// Adoption is the new lease of an adopted daemon; without a fence somebody else was faster.
type Adoption struct {
	Fence   *int64 `db:"fence"`
	Attempt *int   `db:"new_attempt"`
}

// AdoptDaemon makes n the owner of an orphan, whose worker the caller knows to be dead.
func (s *Store) AdoptDaemon(ctx context.Context, o Orphan, n Node, ttl time.Duration) (Adoption, error) {
	return one(ctx, s, "adopt daemon", pgx.RowToStructByName[Adoption], "select * from towpath.daemon_adopt($1, $2, $3, $4, $5)", o.No, o.Attempt, n.ID, n.Incarnation, ttl)
}
