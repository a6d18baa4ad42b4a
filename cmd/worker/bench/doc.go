// Package bench measures the worker on this machine, each figure beside a baseline of the same run.
//
//	worker bench turn ──▶ Run ──▶ private Postgres in a temporary folder, gone afterwards
//	                       │
//	                       ├─ latency   worker.Run in this process, one turn at a time, no-op River jobs between them
//	                       ├─ events    a full queue of turns; then the same rows again as plain INSERTs, batch by batch
//	                       └─ idle      this program as a child, beside a child that runs nothing but the queue
//
// # What the rows mean
//
//	suite turn
//	submit_to_guest_p50_ms, p99   select towpath.submit(…) sent, until the guest's first call. Baseline: an INSERT of a
//	                              no-op River job with its NOTIFY, until its handler runs
//	event_rows_per_s              events of turns that were queued beforehand, from the start of the node to the end of
//	                              the last turn. Baseline: INSERT of these rows into a table with the same columns and
//	                              key, a transaction for each batch that the worker made of them
//	idle_rss_mb                   resident memory of a node without plugins. Baseline: a process with the queue alone
//	idle_queries_per_min          statements of that node, counted in the server's log. Baseline: those of the queue alone
//
//	suite tasks, at 100,000 queued tasks of 2 KB each
//	commander_100k_ms             the slowest of 20 looks at counts and top 20. Baseline: counting and sorting them
//	list_100k_tasks_per_s         all of them by pages of 500. Baseline: tasks over the time of that count
//	commander_client_mb, list_client_mb
//	                              resident memory of this process above what it needs at rest, at its highest
//
// suite guest is that of package enginebench, and builds its guests with the Go toolchain.
//
// ratio is value over baseline. The guests of suite turn are assembled here byte by byte, so that no compiler and no provider is measured.
package bench
