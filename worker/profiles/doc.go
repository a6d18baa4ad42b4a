// Package profiles knows the backends of this node: module, permits, limits, by name.
//
//	plugins/deepseek.wasm ──▶ Loader ──▶ Module ──┐
//	        deepseek.toml ──▶ ParsePermits ──────┴──▶ Profile ──Get──▶ turn ──Release──▶
//	                                        Registry ──Report──▶ requested | permitted
//
// # Invariants
//
//   - A profile's name is its file's name. Permits are a file of the operator's; a module without one may compute,
//     log and emit, nothing else.
//   - A turn keeps the Profile that it got. A replaced or removed one is closed after its last Release.
//   - Scan may be called at any time and applies the difference. A file that does not load changes nothing: the
//     profile that was served before is still served.
//   - A permit file is read strictly. A key that means nothing here, or a value out of range, refuses the whole
//     file: half of what an operator wrote is not what was meant.
//
// # Failures
//
// A file's trouble is a Problem, with its name and the fix, and touches no other file. ErrUnknownProfile is the
// answer to a name that is not served. Scan itself fails only when the folder cannot be read or its context ends.
package profiles
