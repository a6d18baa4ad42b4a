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
//	codex_first_answer_ms         a turn of codex is submitted, until a reader has the first piece of its answer; the median.
//	                              Baseline: the same program driven by hand, from its start, in turns with ours,
//	                              a second apart
//	codex_added_first_answer_ms   the difference of the two
//
//	suite daemons: 1,000 on one node, 500 asked by URL and 100 by a command every 5 s; each is asked in time and found well
//	start_100_s                   100 that listen, from the first call until all are ready. Baseline: as many plain children,
//	                              asked until they answer
//	supervise_1000_cores          processor time of the worker, its children's not counted. Baseline: a loop that asks the
//	                              same URLs and runs as many commands
//	supervise_1000_rss_mb         resident memory of the worker. Baseline: the same worker before its first daemon
//	supervise_1000_queries_per_min  its statements. Baseline: as before
//	exit_noticed_p99_ms, p50      kill -9 of a child, ten a second, until a listener has heard that it is on record, after 30
//	                              uncounted ones. Baseline: a plain parent's wait, and one statement with a notice
//	hang_noticed_intervals        SIGSTOP of a child, until its end as unhealthy is on record, the longest of 20, in
//	                              intervals. Baseline: the failures in a row that it takes, 3
//	suite plugins                 with a Go guest of about 2 MB that is built for it, or --plugin
//	drop_to_served_cold_ms        a file gets its name in the plugins folder, until its node serves it; everywhere: until another
//	                              node does. Baseline: an engine that loads it from nothing
//	drop_to_served_cached_ms      the same for a module that the node has compiled before
//	…_while_replaced_…            turns of a plugin whose file is replaced every second. Baseline: left alone
//	over_budget_…_ms              a turn that never ends by itself, beyond its limit of wall time, which is the baseline
//	…_beside_flood_…              other turns on that node meanwhile. Baseline: the same turns alone
//	rss_of_20_profiles_mb         resident memory of a node with 20 profiles, each a module of its own that has run two turns, beyond
//	                              that of one without any, which is the baseline
//	turn_of_a_profile_put_aside_ms  a turn, from its submission to its end, whose module is on disk only, as many others were used
//	                              since. Baseline: the next turn of the profile
//
// suite guest is that of package enginebench, and builds its guests with the Go toolchain.
//
// ratio is value over baseline. The guests of suite turn are assembled here byte by byte, so that no compiler and no provider is measured.
package bench
