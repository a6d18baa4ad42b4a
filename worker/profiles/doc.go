// Package profiles knows the backends of this node: module, permits, limits, by name.
//
//	plugins/deepseek.wasm ──▶ Loader ──▶ Module ──┐                      ┌──▶ Catalog: the database
//	        deepseek.toml ──▶ ParsePermits ──────┴──▶ Profile ◀──Scan─────┤
//	                                                     │               └──◀ modules of other nodes, permits by SQL
//	                                       turn ◀──Get, GetVersion
//
// # What is served
//
// The catalog says which module a profile is, and all nodes serve that. Watch scans when the folder or the catalog changes.
//
//	a new file, or one that changed while a node watched    becomes the present module, on all nodes
//	a file that a node finds when it starts                 likewise, if nobody has ever had that module
//	  … whose module was superseded or removed before       is a Problem; what the catalog says is served. Touch it to get it back
//	a file is removed while a node watches                  its profile is removed, on all nodes, if that is its module at the time
//	a file is not there when a node starts                  says nothing
//	a file is renamed                                       one profile is removed, another one is new
//	two nodes have two files for one profile                the last one that was put is served; the other is a Problem
//	a file is being written                                 it is left alone until nobody wrote for 50 ms, or for 10 ms to a
//	                                                        module whose sections end where it ends
//
// Permits are the file beside the module, also where the module itself came from the database, and else those by SQL.
//
// # Invariants
//
//   - A profile's name is its file's name. A module without permits may compute, log and emit, nothing else.
//   - A turn keeps the Profile that it got, and gets the module that it began with again after a takeover. A replaced or
//     removed one is closed after its last Release.
//   - Bytes from the catalog are run only if their SHA-256 is what was asked for.
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
