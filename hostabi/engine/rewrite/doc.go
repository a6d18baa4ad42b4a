// Package rewrite turns a plugin's module into what the engine runs, in one pass over its sections, or refuses it
// with a sentence that names the fix. It imports the standard library and the contract only.
//
//	module ──▶ sections in order, every length and index checked ──▶ *Refusal
//	            │ type      + () -> (), (i32) -> i32, () -> results of functions with several
//	            │ import    each one in Limits.Imports, of its type; + towpath.yield as the last
//	            │ function  + helpers, behind the module's own
//	            │ table     one at most, clamped          memory   one, clamped
//	            │ global    + the counter, as the last    export   + counter, + mutable globals
//	            │ element   function indices shifted      code     metered
//	            │ data      taken out as Image, or merged custom   function names kept, the rest dropped
//	            ▼
//	           Result
//
// # The counter
//
// One exported i64 global holds two sums: fuel that is left in its low half, stack that is left in its high half
// (type Counter). Taking from either is one subtraction. The guest calls yield when a half is negative: a negative
// stack must end the guest, negative fuel is a debt that the host pays with AddFuel, or ends the guest. Fuel used is
// what was given, Slice included, less what Counter.Fuel says; it depends on the guest's path alone, neither on
// the engine nor on how much is given at a time, so a guest that runs out of fuel does so again in a replay.
//
//	at each loop head    fuel -= the longest round; yield if below zero. A round of a long loop is charged an eighth,
//	                     as the longest one says little about the usual one
//	at a jump back       the same for the loop by which Go's compiler jumps within a function (type dispatch); a jump
//	                     ahead becomes a plain branch, which is faster than what the compiler made, and is free
//	in straight code     at the latest after longStretch instructions on any path: fuel -= these; yield
//	at a function's head fuel -= the way to its end, stack -= frameCost; yield if either is below zero; at its end, by one
//	                     block around the body, stack += frameCost
//	before a bulk        a helper takes its length in fuel: 8 bytes, or one entry of a table, for 1; a new page for 4096.
//	                     What is filled or copied in memory is so piece by piece
//
// A function that calls none of the module's has no frame, does not look at the counter at its head, and takes
// nothing when it is small: its call pays. So every cycle, by branches or by calls, passes a place that looks, and
// between two such places lie at most some thousand instructions or one piece of memory.
//
// # Decisions
//
//   - Yield is imported as the last import, so the module's own functions move up by one: as every body is copied
//     anyway, a shifted index costs less than any trick around it, and is plain. Types, globals and helpers are
//     added at the end of their index spaces, which moves nothing.
//   - The counter is a global and not a local with settlements: measured, a local costs Go code more, since it lives
//     across every call. Stack in the same word costs one subtraction and one addition a call.
//   - Yield by a call, and not by a trap: the process's garbage collector cannot stop native code, so a guest has to
//     come back to Go regularly, and go on.
//   - KeepData merges the data into one segment for each extent of the image instead of a single one, so that a
//     module with data at both ends of its memory does not carry the zeros between.
//   - Types on the operand stack are not checked here: the compiler behind does it, and the rewrite adds no value to
//     any stack of the module's. What the compiler takes for granted, and panics about, is checked: every index.
//
// # Failure
//
// Every error is a *Refusal. Nothing panics, and memory is bounded by a small multiple of the module's size and
// Limits.MemoryPages. The compiler behind can still be made to work hard by a module that passes: run it in a child.
package rewrite
