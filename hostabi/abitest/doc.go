// Package abitest is the conformance kit of the host ABI: what every host has to do with the calls of a guest.
//
//	Suite ── Guest() ──▶ a module that exports each test ──▶ the host under test ──▶ World, which notes what the host asked
//	  │                       └─ copies its memory before and after each call ──────────▶ its log
//	  └─ golden log ◀── compared ── transcript: call, result, memory before, memory after, what the world saw
//
// A host of one's own is tested by three lines:
//
//	func TestMyHost(t *testing.T) { abitest.Turn.Run(t, myHost{}) }
//
// where myHost implements Host. The tests are named as the host functions are; the logs stand in golden, one for each suite.
//
// # What is compared
//
//   - the result of each call, as the guest sees it;
//   - the bytes of guest memory around its arguments, before the call and after it;
//   - what the host asked of its world, in order, with decoded arguments;
//   - that a turn whose pointers leave its memory is ended, and the world hears nothing of the call.
//
// # Memory that is not to be written
//
// WebAssembly has no read-only memory. What stands for it here: a result whose place is not wholly within the guest's memory ends
// the turn, and nothing of it is written; a guest may have a result written over its own constants, and no later turn finds
// them changed, however a host shares its modules' memory between turns.
//
// Texts of refusals are compared only where the world wrote them: a host chooses its own words.
package abitest
