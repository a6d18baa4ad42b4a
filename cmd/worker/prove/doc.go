// Package prove shows that turns survive what happens to the nodes that run them: it breaks nodes and their database at
// exact points of a scripted turn, and compares what is left with a turn that nobody disturbed.
//
//	          ┌────────────── lane ──────────────┐
//	          │ provider (examples/standin)      │  counts what it was asked, by idempotency key
//	cells ──▶ │ nodes: `worker prove-node`       │  tell where a turn stands, block there when armed
//	          │ private Postgres                 │
//	          └──────────────────────────────────┘
//
// A cell is one turn, one point and one fault. The nodes are told to block when the turn comes to the point; the fault
// is inflicted on the one that does. Then the turn has to end, and:
//
//   - what it said and was not taken back is, byte for byte, what an undisturbed turn says, except for times and the
//     database's own notes of attempts (process.*);
//   - the provider was asked once for each call, and once more for each call that is reported as made again. Only a turn
//     that was taken over between intent and outcome may report one. Where the node died after the intent and before
//     the request had left, nobody can know that, so it is reported too, although the provider was asked once;
//   - from a node that was killed somebody took over without waiting for its lease;
//   - a node that was stopped and taken over, and then goes on, changes nothing;
//   - towpath.check() finds nothing.
//
// A cell whose point was not reached proves nothing and counts as broken.
//
// # Conditions
//
// Leases are shortened to [LeaseTTL]. The sweep, which a leader starts every 15 s, the harness also starts itself, so that
// a lapsed lease is found at once. Nodes are children of the harness on a socket of their own (see [RunNode]).
package prove
