// Package sql holds the tables and functions of schema towpath: the one implementation of every rule about processes.
// psql, a JDBC client and the worker call the same functions.
//
//	migrations/  tables, forward only, checked against a ledger
//	functions/   everything else, re-created whole whenever Version rises
//	river/       guards and triggers on River's table
//	roles.sql    who may call what
//
// # Tables
//
//	store ── one row: identity, digest key, feed epoch          clock ── moves the time of tests
//	profile ── plugin ── module: what each one is and was       migration, code ── ledger of package queue
//	permit, plugin_log: by a profile's name                     node
//
//	session ─┬─ session_kv          snapshot, key by key
//	         ├─ cursor              how far a reader has read
//	         ├─ storage             where its files are
//	         ├─ input ── input_content
//	         └─ process ─┬─ lease   who executes it now        river_job ── its transport, by process.river_job_id
//	                     ├─ attempt one execution on one node  runner_job ── what was started outside for a run
//	                     ├─ event   append-only log            event_type, signal ── what a process declared, hears
//	                     ├─ journal recorded host calls        share ── which scopes may address it
//	                     ├─ receipt a boundary was applied     env ── environments by content
//	                     └─ usage   what a response cost       wake_target, completion ── whom its end wakes
//	daemon ── spec by name                child   a daemon's operating-system process, on one machine
//
//	gate ── what holds back the turns of a profile
//	task ── task_attempt, task_count      login ── login_flow  logins under way        runtime_record ── what supervisors run
//	credential ── what logins ended with
//	retention ── how long                 tombstone ── what was pruned                 usage_day ── old usage, summed
//
// Each table has one reclaim rule, which its comment states too, in the words after "Reclaim:". A test of package store
// makes a row in every table, ends everything, lets the time pass, and finds the tables empty but for those whose rule is
// "never" or "an operator's delete": a new table needs a comment, a line here, and a maker there.
//
//	store, clock        never
//	migration, code     never
//	node                sweep, a day after it was seen, when it holds no lease
//	profile, gate       an operator's delete
//	retention           an operator's delete
//	plugin              with its profile
//	module              prune, when unpinned_modules names it
//	permit              an operator's permit(profile, null)
//	plugin_log          its writer, beyond 500 lines of a profile
//	session             prune, past retention, when it has no process and none is shared with it, leaving a tombstone
//	session_kv, cursor  with the session; a reader also by forget_reader
//	storage             with the session; its files: gc, past retention or asked for
//	process             prune, past retention, leaving a tombstone
//	lease               release, finish or sweep: the row exists only while somebody executes
//	attempt, event      with the process
//	event_type, signal  with the process
//	completion          with the process, or session_delete
//	share, wake_target  with the process, or with the session that may address it or is woken
//	login               sweep, a day after it has ended
//	login_flow          sweep, when it expires
//	credential          an operator's credential_drop
//	runtime_record      runtime_delete, or prune, past the retention of processes, what is not running
//	task                prune, terminal ones past the retention of processes
//	task_attempt        with the task
//	task_count          prune, when there are none
//	input, receipt      with the process; an input without one, with its session
//	input_content       with the input
//	journal             sweep, a day after its turn has ended
//	runner_job          with its run
//	env                 prune, when no process names it
//	daemon              an operator's delete, with spec_delete
//	child               daemon_exit, an operator's resume, or the end of its process
//	usage               prune, under a retention of its own, summed by day first
//	usage_day           never
//	tombstone           prune, under a retention of its own
//
// # Lock order
//
// Every function takes its row locks in this order, and one that needs an earlier lock takes it first:
//
//	tasks → session → daemon → processes by number → gates by profile → leases, attempts → inputs by session → river_job
//
// A process's session never changes, so its id is read unlocked, the session is locked, then the process
// (towpath.locked). Whoever needs several sessions or processes locks all of them first, by id and by number
// (towpath.lock_processes). Whoever holds a session's lock may lock its processes in any order: the end of a turn locks the run
// that it is part of. Who writes an input of a process has locked the process: poll too. Several processes at once are
// locked by append and poll alone, by number; the next turn of a session has a higher number than the one before it.
// A profile's row is locked by those alone that change what it is, and they lock nothing else. So is a credential, by who
// renews it, while the provider is asked. A login is locked before its flow and its credential.
// A daemon's runtime record is locked after its process; whoever else changes a record locks nothing else.
// The renewal of leases locks nothing else. sweep skips what others have locked. prune locks ended processes
// by number, or sessions, and skips what others have locked too. The end of a River job is the last
// lock of a transaction, since River's own statements hold these rows and nothing of ours.
//
// Whatever is decided is read after the lock: a statement's snapshot is older than a lock that it waited for.
//
// # Plans
//
// A connection plans a statement of ours once and keeps the plan. On a young database that is a plan for empty tables, and
// it stays when these have grown, until the next analyze: a lock of one row then read a table of thousands. So each function
// that writes says "set plan_cache_mode = force_generic_plan set enable_seqscan = off": its statements find few rows by a key.
// A partial index looks smaller than the one with the key, for the same reason: whoever looks for the live inputs of a process
// asks for their phase, since "finalized_at is null" would read those of every process that waits.
// A table of one row is still read whole, at a price that makes Postgres compile the statement each time: so also "set jit = off".
//
// A CHECK of a table and the WHEN of a trigger are read anew by every statement; an expression of a trigger function once a
// transaction. So what a state needs is said by towpath_transition and towpath_phase, with the code and name of a constraint.
//
// # Errors
//
//	SQLSTATE  kind                 HTTP  when
//	TW400     invalid              400   an argument is missing, malformed or out of range; the hint shows a good one
//	TW403     not permitted        403   a reserved event type, an authority that may not end this process
//	TW404     not found            404   no such process, session or profile
//	TW409     conflict             409   the state does not allow it: ended, another profile's session, moved on
//	TW40I     idempotency          409   the key or id was used for another request
//	TW40L     lease                409   the fence is not the owner's any more: taken over, lapsed or ended
//	TW40R     resync               410   the change feed has begun anew since this cursor
//	TW40V     stale version        412   the snapshot is at another version than the caller's
//	TW410     pruned               410   there was such a process, or such a key, and it is no longer retained
//	TW41E     evicted              410   the session's files were removed, and it takes no more work
//	TW413     too large            413   content, nesting or a key beyond the stated limit
//	TW423     quarantined          423   the session is damaged and waits for an operator
//	TW429     limit                429   as many as there may be are there already
//
// Postgres's own codes keep their meaning. 40P01 and 40001 are worth one more try, which package store makes; class 22
// is bad input; 23514 on river_job is a malformed row.
//
// # Event types
//
// The database writes these itself; their data says what changed.
//
//	process.queued            accepted: profile, session, input
//	process.started           an attempt began: attempt, node, resumed, or adopted with its child
//	process.retracted         what from_seq to to_seq said is taken back: an attempt begins anew
//	process.requeued          given back or lost: reason, attempt, delay_ms
//	process.restarted         its journal could not be replayed: reason
//	process.waiting           parked on a wait, without lease and job
//	process.resumed           its wait is over
//	process.resolved          an operator decided about an outside call in doubt
//	process.ready             a daemon's child can be used: attempt, pid, port
//	process.unhealthy, process.healthy
//	                          what a daemon's worker has found: detail
//	process.fallback          another profile goes on, as the submitter asked: profile, session, process
//	process.boundary          a session's snapshot and inputs changed together
//	process.shared, process.unshared
//	                          a scope may address it, or no more: scope
//	process.transferred       it passed from one scope to another: from, to
//	process.cancel_requested  reason
//	process.abandon_requested an operator's mark
//	process.completed, process.failed, process.cancelled, process.abandoned
//	                          the end, once, and nothing after it
//
//	command.created, command.terminal
//	                          in a run's log: one of its commands was given, and how it ended
//
// A replaying owner adds process.in_doubt and process.reissued. Other types are the guest's own.
//
// # Invariants
//
// Within a row CHECK constraints and triggers hold them, against a person with psql too: a terminal row stays terminal,
// what a process or session is never changes, the log is append-only. Between tables towpath.check() lists what is
// broken; it is empty after every test.
package sql
