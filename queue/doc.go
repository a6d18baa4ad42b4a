// Package queue moves the work: it is the only importer of River.
//
//	INSERT into river_job ──▶ guard (sql/river) ──▶ NOTIFY ──▶ a node's Client ──▶ Handler of the kind
//	  psql, any client,       checks, routes to                                     nil       completed
//	  SQL functions,          the kind's queue                                      error     retried later
//	  periodic jobs                                                                 Snooze    again, no attempt spent
//	                                                                                Cancel    never again
//
// # Kinds, queues, args
//
//	kind                  queue      args
//	turn                  turns      {"process_id", "generation"}, or a client's {"profile", "input",
//	                                 "session"?, "idempotency_key"?, "options"?}: see [TurnArgs]
//	start, stop, restart  lifecycle  {"process_id", "generation"}, or a client's {"spec"}: see [DaemonArgs]
//	health_check          lifecycle  {}
//	sweep                 lifecycle  {}
//	gc                    gc         {}
//	prune                 gc         {}, or {"cutoff"?, "filter"?, "watermark"?, "dry_run"?}: see towpath.prune
//	wake                  lifecycle  {"session"}: see [WakeArgs]
//	scan_plugins          gc         {}
//	storage               gc         {"action": create or refresh, "session", …}: towpath.storage_create makes them
//	login                 lifecycle  {"login_id"}: towpath.login_start makes it
//
// A handler gets the args as they are stored: what they mean is decided by SQL alone, so odd args fail in one place,
// with one message.
//
// # Invariants
//
//   - Every node registers every kind and every periodic job, whatever queues it works: River elects one leader, and a
//     leader that does not know a kind discards its stuck jobs. A kind without a handler is cancelled, saying so.
//   - A River job is a message, never the truth. It may be repeated, rescued, late or gone. So River's own commits do not wait
//     for the server's log (a Client has a small pool for them), and what a crash of the server takes back of them is told again.
//   - Turns have no time limit here and are never rescued by River: leases decide. Other kinds have one each, and a job
//     that a dead node left behind is rescued a minute and a half after it began.
//   - One sweep at most waits or runs. Its unique key covers the live states only, so a finished one never stands in
//     the way. It has one attempt: the next tick is the retry. Finished ones are deleted after an hour (240 rows), since
//     River's own retention holds for all kinds together.
//   - [Migrate] writes the schema in one transaction, one caller at a time, and touches nothing that is newer or strange.
//
// # Latency and idle cost
//
// A NOTIFY from the guard's trigger wakes the queue, so an inserted job starts within milliseconds. Polling is for jobs
// that become due: retries, snoozes and delays of up to five seconds are rows that are available but not yet due, and
// nobody notifies when their time comes. Hence two seconds on turns and lifecycle, ten on gc. An idle node sends about 80
// statements a minute, and the leader 70 more for everybody. Through a pooler there is no LISTEN, and polling is all there
// is: every two seconds on turns, ten on lifecycle, thirty on gc. More than half of what an idle node then sends is River's
// own look at whether a queue is paused.
//
// # Stopping
//
// [Client.Stop] stops fetching at once. Jobs that have not ended by themselves after Config.SoftStop have their contexts
// cancelled with [ErrStopping]; a handler that then returns an error gives its attempt back, and another node takes the
// job at once. When the context of Stop ends first, the jobs are left to themselves: their leases will lapse.
package queue
