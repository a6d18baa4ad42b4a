// Package monitor lets others watch a node: metrics for Prometheus, and whether it lives and is ready.
//
//	queue, worker/turn, egress ──▶ counters and histograms ─┐
//	pool, registry of profiles ──▶ read at each scrape ─────┼─▶ /metrics
//	towpath.gauges() ────────────▶ the whole deployment ────┘
//	                               Check by name ───────────▶ /healthz, /readyz
//
// # Invariants
//
//   - Every metric of ours is described in [Metrics], once, and docs/metrics.md is that list. No label holds what a
//     client chose: neither sessions nor processes.
//   - A scrape never hangs on the database: what it cannot read within two seconds is left out, and towpath_database_up
//     is 0. Scrapes that follow each other within five seconds share one read.
//   - It listens on loopback unless the address names another host: there is no login.
package monitor
