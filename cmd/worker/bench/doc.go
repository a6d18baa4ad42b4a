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
//	suite stream
//	chunk_overhead_us             CPU time of node and Postgres for each chunk, 8 streams of 1,000 chunks, 200 a second each;
//	                              minimax_… of minimax-m3
//	streams_200_lag_p99_ms, p50   200 streams of 20 chunks a second: a chunk sent by the provider, until a reader that
//	                              follows the turn has it
//
// suite guest is that of package enginebench, and builds its guests with the Go toolchain.
//
// ratio is value over baseline. The guests of suite turn are assembled here byte by byte, so that no compiler and no provider is measured.
package bench
