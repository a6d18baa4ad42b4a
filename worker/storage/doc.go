// Package storage keeps the files of sessions. A Place is where: Root has a directory for each, package pvc a volume of a cluster.
//
//	ROOT/                  0700; its id, not its path, is what the database knows
//	├─ .towpath-root       the id; who has it has these files
//	├─ 3f0a…               a session's directory, 0700, named by the session id's digest
//	└─ .trash-…            was a directory; being removed
//
// A session's storage goes from none to provisioned, evicting and evicted, and never back: towpath.storage_put, storage_due
// and storage_gone decide, this package only makes, measures and removes. Guests do not see these files. A turn's children
// have the directory as their working directory.
//
// # Invariants
//
//   - Every path is opened through os.Root: no symbolic link, whoever planted it, leads out of the root. What is removed
//     is first renamed, so that two that remove at once, and one that is killed, leave nothing half there under its name.
//   - A directory is made first and recorded then; what is made and not recorded is an orphan, and goes after an hour.
//   - A session's quota is its own, at most the root's. It is looked at when a child starts; the file system knows none.
//   - A root that was replaced since it was opened (another device mounted over it, or unmounted) is not touched.
//
// # Failure rules
//
// What cannot be removed is reported, kept as it is, and tried again; it stops nobody else's removal.
package storage
