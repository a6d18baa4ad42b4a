// Package store is typed Go access to the SQL functions of schema towpath.
//
//	worker, cmd ──▶ Store ──▶ towpath.submit, claim, append, finish, … (package sql)
//
// It holds no rule of its own: what may happen to a process is decided in SQL, under locks, and comes back as a row
// or as an [Error] whose Code is one of ours.
//
// # Failure rules
//
//   - An [Error] matches a sentinel with errors.Is: ErrNotFound, ErrFence, and so on. Everything else that a call
//     returns is trouble on the way to the database, and says nothing about the state of a process.
//   - A deadlock or a serialisation failure is tried once more here, and nowhere else. Every call is one statement,
//     so the second try does not repeat half of the first.
//   - A [Group] makes calls in shared transactions. When one of them fails there, or waits for a lock, none is stored,
//     and each is made again by itself: a lost answer means what it means for a single call. A claim that is made alone is
//     two calls of one transaction, begin_claim and store_claim: the answer of the first is handed over while the second is on
//     its way, and who calls asks for the commit before anything follows from it. A node that is frozen between the two loses
//     its connection after five seconds, and with it the claim.
//   - What an executor calls all the time (Claim, ClaimProcess, Append, Finish, Complete) wakes readers after its commit, not by
//     it: many at once, without holding up other commits. A node that dies between the two wakes nobody, and readers, who look by
//     themselves each second, lose nothing.
//   - A Store is safe for concurrent use. Listen holds one connection of the pool for as long as it runs.
package store
