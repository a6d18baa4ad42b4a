// Package pvc gives sessions a volume of a Kubernetes cluster: a PersistentVolumeClaim each, in one namespace.
//
//	namespace                its uid, not its name, is what the database knows: "pvc:" and the uid
//	└─ towpath-3f0a…         a session's claim, named by the session id's digest
//	     label towpath/root  the namespace's uid; what has none, or another one, is not ours
//
// The lifecycle is that of every storage: towpath.storage_put, storage_due and storage_gone decide, this package only asks the
// cluster. The claim is mounted by whoever runs a pod for the session; towpath.storage_summary names it. The worker mounts
// nothing: turns of the session run on any node, their children work in a folder that goes with them, and a refresh knows the
// size of the volume, not what is in it.
//
// # Invariants
//
//   - A claim is made first and recorded then; what is made and not recorded is an orphan, and goes after an hour.
//   - Only a claim with our label is taken or deleted, and only the one that was looked at (by its uid).
//   - Storage is evicted when its claim is gone, not when it was asked to go: a pod that uses it keeps it.
//
// # Failure rules
//
// What the cluster refuses, or does not answer in time, is reported and tried again; nothing is retried here.
package pvc
