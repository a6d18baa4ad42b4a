// Package hostabi is the contract between the worker and a plugin, version 1: names, codes, records, messages,
// limits, and the Host interface. It imports the standard library only.
//
//	guest (any language)            engine                     worker/turn
//	┌──────────────────┐  turn_v1   ┌──────────────────┐ Host  ┌───────────────────────────┐
//	│ owns all memory  │ ─ ptr,len ▶│ bounds, decodes, │ ─────▶│ journal, permits, events, │
//	│ one turn, then   │ ◀─ n, -code│ parks results    │       │ HTTP, children, kv        │
//	│ thrown away      │            └──────────────────┘       └───────────────────────────┘
//	└──────────────────┘
//
// # Conventions
//
// ptr, len, cap, handle and n are i32, times are i64 nanoseconds, text is UTF-8, structured values are JSON,
// everything is little-endian. A result >= 0 is success, < 0 is a negated [Code]. A call that yields bytes returns
// their length and the host parks them; `take` copies them out. A negative result parks a message for humans. One
// value is parked at a time; the next call drops it. The host touches guest memory only during a call and keeps no
// pointer.
//
// # Functions of module turn_v1
//
//	take      (ptr, cap i32) → n i32               copies min(n, cap) of the parked bytes; the rest is dropped
//	request   () → n                               the turn request, TurnRequest
//	now       () → i64                             Unix time in ns on the turn's clock
//	random    (ptr, len) → 0                       the turn's random stream
//	log       (level, ptr, len) → 0                -1 debug, 0 info, 1 warn, 2 error
//	emit      (ptr, len) → n                       one event, an object with `type`; its number in this turn
//	http_open (head, len, body, len) → handle      HTTPHead
//	proc_open (spec, len) → handle                 ProcSpec
//	proc_write(handle, ptr, len) → 0               as it is; len 0 closes standard input
//	proc_fill (handle, ptr, len) → 0               the same, with placeholders filled
//	wait      (handle i32, timeout i64) → n        next Record; 0 = timed out; handle 0 = any; timeout < 0 = for ever
//	close     (handle) → 0                         cancel and forget
//	kv_get    (key, len) → n                       or -ENOENT
//	kv_set    (key, len, value, len) → 0           an empty value deletes
//	finish    (ptr, len) → 0                       the result, exactly once
//
// # Invariants
//
//   - A call either has an effect (a journal keeps its arguments' digest) or yields data (a journal keeps the data).
//   - Everything asynchronous arrives through `wait`, and counts as observed when `wait` returns it.
//   - A pointer outside memory, or any other broken contract, traps the turn. What a guest can act on is a code.
//   - Version 1 only grows. A guest that imports what the host lacks is refused at load, by name.
package hostabi
