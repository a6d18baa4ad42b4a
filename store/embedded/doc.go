// Package embedded runs the private Postgres that a worker uses when it is given no DATABASE_URL: found on the
// machine, reached over a Unix socket only, stopped with the worker, kept for the next start.
//
//	Dir/
//	  worker.lock       flock of the owning worker; holds its pid
//	  server.lock       flock inherited by the postmaster and its children: free when the last one is gone
//	  data/             the Postgres data directory; appears whole or not at all
//	  data.new/         an initdb at work, or the remains of an interrupted one
//	  socket/           0700, holds .s.PGSQL.5432 (a short folder elsewhere when Dir is too long for a socket)
//	  postgres.log, .1  what the server wrote, bounded
//
// # Invariants
//
//   - One worker owns a Dir. A second one gets [InUseError], at once.
//   - No second postmaster is started while a process of an earlier one lives. The kernel knows: all of them
//     inherited server.lock. So a stale postmaster.pid, or one whose pid now belongs to somebody else, harms nobody.
//   - A pid is signalled only while its socket answers, so never a stranger's.
//   - initdb works in data.new, which is renamed when it is complete.
//   - Started by root, server programs run as the owner of an existing data directory, else as postgres or nobody.
//     Nobody else can enter the socket folder, which is why connections need no password.
//
// # Failures
//
// A worker that is killed leaves its server running, so that psql and other clients keep it; the next Start stops it
// (fast shutdown) and starts a fresh child with the settings of that worker. The server runs in a session of its own,
// so a Ctrl-C in the terminal reaches the worker alone. When the server dies, [Server.Done] is closed; Start again.
// An error of Start carries the server's last log lines, and says when the disk is full.
package embedded
