// Package turn executes the turns of agents on this node: it takes a turn's lease, runs a fresh instance of its
// profile's module, gives the guest's calls their meaning, and writes what became of it.
//
//	River job ──▶ Handle ──▶ claim ──▶ execution (hostabi.Host) ──▶ decide ──▶ finish, retry, or nothing
//	                                     │        ▲
//	              journal, events, input │        │ records: HEAD, DATA, END, INPUT, CANCEL
//	                                     ▼        │
//	                 flusher (one a node)     inbox ◀── streams (HTTP, children) ◀── poll ◀── NOTIFY towpath_control
//	                     │                                                          renew ──▶ leases
//	                     ▼
//	                  store.Append: one commit for all dirty turns
//
// # Journal and replay
//
// Every call of the guest is an entry: a digest of what it asked and what it was told, stored in the commit that stores
// the events before it. What leaves the node (a request, a child, its input) waits for that commit; a turn that is alone
// makes it itself, without a hand-over to the flusher. A turn that is claimed
// again runs from the start in a fresh instance: recorded calls answer from the journal, stored events are not stored
// again, and the first call that differs ends the turn with its number. A call that was in flight is told as lost; it can be
// made again only by naming it, which is an event, takes back what was said since, and keeps its Idempotency-Key. A child
// of the past is lost too, and is opened again.
//
// # Invariants
//
//   - Every write carries the fence of the claim. Who has lost the lease writes nothing and says nothing.
//   - A guest begins as soon as the claim is known, while the database still stores it. Until that is done it may compute, and write to
//     the node's log: its first journalled call waits, and so does its end. A claim that is not stored leaves nothing behind.
//   - The events of a turn are stored in the order in which its guest emitted them; what is left at its end is stored
//     in the commit that ends it.
//   - Claims that come together share a transaction, and so do ends (store.Group). Each means what it would mean alone.
//   - An event after a pause is stored at once, so that its reader need not wait; else everything within 50 ms is one commit.
//   - An input counts as applied in the commit that holds what the guest emitted before it asked for the next one.
//   - The guest's clock moves when the guest observes something, and a microsecond for each reading; its random
//     stream is the turn's own. Neither depends on the machine.
//   - outcome.go alone decides what becomes of a turn.
//
// # Failure rules
//
//   - A guest's fault (trap, fuel, a limit) makes the turn failed: it is deterministic and would fail again.
//   - The host's trouble (database, memory budget, a plugin that this node lacks) gives the turn back. It never makes
//     it failed.
//   - While the database is away, events wait in memory, up to a limit at which the guest waits too. A lease that
//     lapsed meanwhile is still ours if nobody has taken it.
//   - After two lease times without an answer the node stops its turns: somebody else must be assumed to run them.
//   - When the worker stops, turns that are still running go back without a cost to their attempt budget.
package turn
