// Package guest is the SDK for plugins written in Go. A plugin is an ordinary program whose init names its function:
//
//	func init() { guest.Handle(manifest, run) }
//	func main() {}
//
//	func run(ctx context.Context, t *guest.Turn) (any, error) { … }
//
// built with GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared. One instance runs one turn and is thrown away.
//
//	run and its goroutines            pump (one goroutine)          host
//	┌───────────────────────┐ waits ┌────────────────────┐  wait  ┌────────────┐
//	│ body.Read, Receive,   │ ────▶ │ lets all others    │ ─────▶ │ turn_v1    │
//	│ Sleep, Inputs()       │       │ run, then blocks   │        │ (journal,  │
//	│                       │ ◀──── │ and hands records  │ ◀───── │  permits)  │
//	└───────────────────────┘ queue │ to their queues    │ record └────────────┘
//	          │ Emit, Get, Set, Do, Exec: plain calls, never blocked     ▲
//	          └──────────────────────────────────────────────────────────┘
//
// # The one thread
//
// An instance has one thread, and `wait` stops all of it, goroutines and timers included. Therefore:
//
//   - The SDK calls `wait` only while some goroutine waits for a record: it reads a body or a child's output, sits in
//     [Turn.Receive] or [Turn.Sleep], has called [Turn.Inputs], or holds a running [Turn.AfterFunc].
//   - Before that every other goroutine runs until it blocks.
//   - `wait` is given the nearest deadline that the SDK knows: those of the contexts of waiting calls, of Sleep and of
//     AfterFunc. It cannot see timers of package time. time.Sleep works on its own, but beside a goroutine that
//     waits for a record it may oversleep until the next record: use Turn.Sleep and Turn.AfterFunc there.
//   - Records for a goroutine that is busy elsewhere are kept in memory until it reads them.
//
// # Ends of a turn
//
// A cancelled turn is a cancelled context whose cause is [*Cancelled]. The result of run becomes the turn's result,
// completed; an error becomes a failed or cancelled one, classified ([Failure], [Kind]): retrying is the worker's
// business, never the plugin's. A panic traps the instance and the worker reports it with the last of stderr.
//
// A handle that belonged to an execution that died gives an error for which [Lost] is true; repeat the request only with
// [Request.RetryOf] set to that handle, after forgetting what the first answer had brought.
//
// # What is frozen
//
// The worker freezes an instance after its init functions and starts every turn from that image. So Handle runs the
// codecs of the SDK's messages once, and [Warm] does it for the plugin's own types. It also means that map seeds and the
// top-level functions of math/rand are the same in every turn: take identifiers from crypto/rand, which is the turn's.
//
// # Outside wasm
//
// Everything compiles natively too, where [Serve] runs a plugin's function against any hostabi.Host; package guesttest has one.
package guest
