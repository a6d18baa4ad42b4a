// Package worker is one node: it takes jobs from its queues and knows what each kind of job means.
//
//	cmd/worker ──▶ Run ──▶ queue.Client ──turn──▶ worker/turn ──▶ profile's module (hostabi/engine)
//	                │            └───────sweep──▶ store.Sweep
//	                └─▶ worker/profiles: plugins folder ──▶ towpath.profile
//
// # Invariants
//
//   - A node names itself with an incarnation before it takes a job, so that every lease has an owner that is on record.
//   - Profiles are registered before turns are taken. A plugin that is refused is reported and stops nobody.
//   - A River job whose args are wrong is cancelled with the reason; it says nothing to any other job.
//
// # Modules in memory
//
// A module's compiled code is far larger than its file. A module that no turn has run for ten seconds is put aside, the
// longest unused first, until those that are idle take less than 64 MiB. The next turn of its profile loads it from the
// engine's cache on disk; the profile is served all the time.
//
// # Liveness
//
// A node holds an advisory lock on a connection of its own. The next node in the ring of names waits for that lock: when
// it gets it, the other is dead, and its leases are swept at once. Through a pooler there is no lock; leases lapse.
//
// # Stopping
//
// When the context of Run ends, the node takes no more jobs and lets running turns end by themselves (soft stop). What
// still runs after Config.SoftStop is stopped and given back to the queue without a cost. Config.HardStop bounds that.
package worker
