// Package pgtest gives tests real Postgres databases: one throwaway server per test binary, one database per test.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestX(t *testing.T) {
//		template := pgtest.Template(t, "migrated", func(ctx context.Context, dsn string) error { … })
//		dsn := pgtest.CreateDatabase(t, template) // dropped when the test ends
//	}
//
// The server starts when the first test asks for it, in a folder of its own, from a copy of a data directory that all
// test binaries of a user share. With TOWPATH_TEST_DATABASE_URL (a superuser on Postgres 15 or newer) no server is
// started and databases are made there.
//
// A guard, a shell that waits for the end of a pipe, stops the server and removes its folder however the test binary
// ends: a panic, a timeout and a kill -9 included.
package pgtest
