// Package direct takes the function table out of a module. A runtime fills a table anew for each instance, function by
// function; for a plugin in Go, with thousands of them, that is half the time and a third of the memory of an instance.
//
//	call_indirect (type 7)          call $dispatch7
//	       │                               │
//	   table[i] ─▶ check type       br_table i ─▶ call f ─▶ return
//	                                          └─▶ unreachable, where the table has nothing or another type
//
// A table can be taken out when nothing but element segments ever writes to it and nothing but call_indirect reads it.
// Otherwise the module stays as it is.
//
// # Invariants
//
//   - A module behaves the same without its table, but for the text of the trap of a wrong indirect call.
//   - The order and the number of the module's functions stay; dispatchers come after them.
//   - The input is a module that package rewrite made. Any other input is safe, and may be left as it is.
package direct
