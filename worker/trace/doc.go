// Package trace records the spans of turns and of other jobs, and sends them to a collector, OTLP over HTTP.
//
//	submit ─ traceparent ─▶ options of the turn ─▶ metadata of its River jobs, and spec of each claim
//	  └── turn, one for each attempt on any node
//	        ├── claim
//	        ├── request, proc: what the guest opened
//	        └── finish
//
//	start, stop, restart, health_check, gc, prune, storage, wake: a span for each delivery of such a job
//
// # Invariants
//
//   - Without a collector there is no Tracer, and nothing is recorded, allocated or sent.
//   - A collector that is away costs spans, never a turn: they are sent beside the turns, and dropped when they pile up.
//   - A span says who, how long and how it ended. Nothing of what was asked or answered is in it, and a provider is told
//     nothing of the trace.
package trace
