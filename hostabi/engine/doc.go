// Package engine runs plugins: WebAssembly modules of the ABI that package hostabi states. It is the only importer of
// wazero.
//
//	Load, once a file                                     Run, once a turn
//	┌─────────────────────── child process ────────┐
//	│ rewrite ─▶ compile ─▶ _initialize ─▶ manifest │     clone: memory copy-on-write, globals, fuel
//	└───────────────│────────────│─────────────────┘            │
//	                ▼            ▼                       turn_v1 ◀──▶ bind, wasi ◀──▶ Host
//	      cache: native code, program ──▶ Module ─────▶         │
//	                                                     release: memory restored or unmapped
//
// The parts, each a file or a subpackage of its name:
//
//   - rewrite checks a module and makes it stoppable: metered code calls yield every so often.
//   - direct takes out the function table, which would be filled anew for each instance.
//   - program is what a file becomes: the rewritten module, and the state in which every instance begins. An order
//     makes it in a child process that is limited in memory and time, as loading is where a hostile file costs most.
//   - cache keeps programs and their native code on disk.
//   - template makes instances of a program; turn is one call of an export; memory is an instance's linear memory.
//   - places are what turns that compute for long share, so that one processor is left to the others.
//   - stacks is how fast the stacks of turns may grow, as each that is outgrown is work for Go's collector.
//   - image is the memory that instances begin with: in a memfd that they map copy-on-write, or copied.
//
// # Invariants
//
//   - One instance runs one turn. No turn sees memory of another.
//   - All that a guest observes comes from its Host and from its own computation: with an equal Host, an equal trace.
//   - A guest runs only metered. Wherever it is, the end of its context stops it, and it never holds up Go's collector.
//   - Guest memory is touched only during a host call, and a pointer outside of it ends the turn.
//
// # Failures
//
// A file that cannot be a plugin is a *LoadError, which names the fix. A turn that does not end well is a *Trap, which
// names the reason. An error of the Host that is not a *hostabi.Error ends the turn at once and is wrapped by the Trap.
//
// # What authors of plugins should know
//
// All turns of a plugin begin with the same memory, so what its runtime drew at random in _initialize is the same in
// all of them: map seeds and math/rand in Go. Identifiers come from crypto/rand or from the ABI's random.
package engine
