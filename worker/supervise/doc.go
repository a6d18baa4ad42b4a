// Package supervise keeps daemons, and starts the children of turns, each under a guard. It leaves none behind.
//
// # Children of turns
//
//	worker                                guard (this binary again)            command and what it starts
//	┌──────────────┐  letters: order,     ┌─────────────────────┐  fork, exec  ┌─────────────────────┐
//	│ Start, Feed, │ ── feeds, EOF ──────▶│ session of its own  │ ────────────▶│ process group of    │
//	│ Wait, Kill   │ ◀─ report ───────────│ adopts orphans      │ ── signals ─▶│ its own             │
//	└──────┬───────┘                      └─────────────────────┘              └──────────┬──────────┘
//	       └───────────────── standard input, output, error: pipes ───────────────────────┘
//
// The guard forwards nothing: the command holds the far ends of the worker's pipes, so a worker that does not read
// stops the command, and none of the output passes through the guard. A node that has started one child keeps a guard
// ready for the next, see Guards; it has no order yet, and ends with its worker like any other.
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
//
// # Daemons
//
//	River job start, restart ──▶ Daemons.Start ──▶ keeper ──▶ child: free, or guarded
//	towpath.daemon_wishes ─────▶ (stop, restart,     │ ├─ pidfd: its end
//	                              look now)          │ ├─ probe: URL or command
//	                                                 │ └─ NAME/stdout.log, stderr.log, pid.json
//	                                                 ▼
//	                             towpath.daemon_exit: what follows by the restart policy
//
// A daemon that outlives its worker (by default one with a port) is free: a session of its own, output into files that it
// holds itself. Any other one is guarded, as the children of turns are, and fed when the leases are renewed.
//
//   - The policy is SQL's alone: a keeper says how a child ended, and the rows say what follows.
//   - The lease names the place of a child before there is one. Who cannot see a child cannot replace it: only a worker of
//     the same machine takes over what may live, or any worker after an operator's mark.
//   - A worker is known to be dead by its lock file, which the kernel frees; a child is known by its number, its start and
//     the machine's boot together, or by the variable TOWPATH_PROCESS that it was started with.
//   - What descends from a daemon is ended with it, also what has left its group: that variable finds it. A daemon that
//     removes it from its environment, leaves its group and forks gets away.
//     One look at all processes serves all daemons that are ending; other daemons' children are known and not read.
//   - A port is kept by a unique row, for all workers of a machine, and seen to be free. Health counts only when a process
//     of the daemon listens there.
//   - Logs are bounded by holes at their head, so that numbers of bytes stay; what is said between two looks, a second
//     apart, comes on top. The file system must know holes.
//
// A check that failed is repeated sooner, by the time that one may take: so a hang is found within as many intervals as it
// takes failures in a row.
//
// Health is checked by a loop of the node, not by a River job: River moves scheduled jobs every five seconds, and a job
// cannot be bound to a node. The job health_check of a node looks once a minute whether that loop looks; a client's
// health_check has it look at once.
//
//   - The database is away: children go on, the end of one is recorded when it is back. Guarded ones end with their feed.
//   - The lease was lost: a guarded child ends; a free one is taken back, left to its new keeper, or ended if the row
//     says that it is nobody's.
//   - The command is missing or no program: failed at once. Anything else that keeps it from starting is a failed start.
package supervise
