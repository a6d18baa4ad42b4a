// Command worker runs turns from Postgres, and is the command line for submitting and watching them.
//
//	worker                      a node: takes jobs from the queues until it is told to stop
//	├─ no DATABASE_URL          starts the private Postgres of package embedded first, and stops it last
//	└─ migrate                  only prepares the database
//	worker submit, events, ps,  a client: SQL functions over one connection, to the same database;
//	profiles, steer, …          without DATABASE_URL, to the private one of the worker that runs on the data directory
//	worker bench                measures, beside baselines of the same run
//
// # Configuration
//
// One struct, [config]. Each field names its environment variable, its flag, its default and its meaning in tags, and
// `worker -h` prints all of it. A flag wins over a variable. A TOWPATH_ variable that nobody knows is warned about.
//
// # Signals
//
// SIGTERM or SIGINT once: take no new jobs, let turns finish for TOWPATH_SOFT_STOP, then give the rest back to the
// queue without a spent attempt, for which there is TOWPATH_HARD_STOP. Twice: exit at once; another node takes the turns
// over as it does from one that died, and the next start stops the private Postgres that was left behind.
// A client that follows a turn stops following; the turn goes on.
//
// # Output and exit codes
//
// Results go to stdout, everything else to stderr: logs of a node, `error:` and `hint:` lines of a failure.
//
//	0    done; a followed turn completed
//	1    a followed turn failed, or anything else went wrong
//	2    the command line or a setting is wrong
//	3    a followed turn was cancelled
//	4    a followed turn was abandoned: its attempts are spent
//	5    the database cannot be reached, or is not migrated
//	130  following was interrupted, or a second signal came
package main
