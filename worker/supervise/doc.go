// Package supervise starts the children of turns, each under a guard, and leaves none behind.
//
//	worker                                guard (this binary again)            command and what it starts
//	┌──────────────┐  letters: order,     ┌─────────────────────┐  fork, exec  ┌─────────────────────┐
//	│ Start, Feed, │ ── feeds, EOF ──────▶│ session of its own  │ ────────────▶│ process group of    │
//	│ Wait, Kill   │ ◀─ report ───────────│ adopts orphans      │ ── signals ─▶│ its own             │
//	└──────┬───────┘                      └─────────────────────┘              └──────────┬──────────┘
//	       └───────────────── standard input, output, error: pipes ───────────────────────┘
//
// The guard forwards nothing: the command holds the far ends of the worker's pipes, so a worker that does not read
// stops the command, and none of the output passes through the guard.
//
// # Invariants
//
//   - Nothing of a child outlives its guard's report: not its group, not what left the group or forked twice.
//   - A child lives for as long as its worker feeds it, and not longer. A worker that is stopped feeds nothing.
//   - A number of a process is signalled only while that process cannot have been reaped: the guard signals its own
//     children, and the group of a leader that it has not reaped; the worker its own guard, or by pidfd.
//   - A child sees an environment of four variables, none of the worker's, and no file of the worker's but its pipes.
//     It gains no rights by a set-user-id program, so that it can always be killed.
//   - It cannot read the memory or the environment of the worker: a concealed worker is no business of its user's other
//     processes, and one of root is none of a child that may not trace.
//   - No shell is in between.
//
// # Failure rules
//
//   - The command ends by itself: what it left behind is killed at once, and Wait says how it ended.
//   - Kill, the worker's death, or the end of the feed: SIGTERM to the group, SIGKILL to everything after Spec.Grace
//     or when the command has ended.
//   - The guard dies, or does not answer a Kill: the worker kills the guard, the command dies with it, the worker
//     kills what else is in the guard's session, and Wait fails with ErrGuard. Only what has left that session as
//     well can then survive.
//   - Children are started on Linux only; elsewhere Start says so.
package supervise
