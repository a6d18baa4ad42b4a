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
// [Functions] lists the functions of module turn_v1; docs/abi.md is made of it and of this package's constants and messages.
//
// # Invariants
//
//   - A call either has an effect (a journal keeps its arguments' digest) or yields data (a journal keeps the data).
//   - Everything asynchronous arrives through `wait`, and counts as observed when `wait` returns it.
//   - A pointer outside memory, or any other broken contract, traps the turn. What a guest can act on is a code.
//   - Version 1 only grows. A guest that imports what the host lacks is refused at load, by name.
package hostabi
