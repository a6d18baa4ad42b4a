package main

import (
	"bytes"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
)

// invocation runs the program in this process.
func invocation(t *testing.T, dsn string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = execute(t.Context(), args, []string{"DATABASE_URL=" + dsn}, strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// Fifty clients that do not know of each other submit the same request with one key: one process, one event, one job.
func TestFiftySubmitsWithOneKeyAreOneTurn(t *testing.T) {
	dsn := queuetest.Database(t)
	pool, err := store.Open(t.Context(), dsn, false)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	profile := store.Profile{Name: "echo", Digest: "d", Manifest: []byte("{}"), Limits: []byte("{}"), MaxAttempts: 3, TurnTimeout: 600e9}
	if err := store.New(pool).PutProfile(t.Context(), profile, "test"); err != nil {
		t.Fatal(err)
	}
	for _, session := range []string{"--session=one", "--options={}"} { // in a session, and each in a new one
		t.Run(session, func(t *testing.T) {
			var mu sync.Mutex
			ids := map[string]int{}
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					code, out, errs := invocation(t, dsn, "submit", "--profile", "echo", session, "--key", session, "hello")
					if code != 0 {
						t.Errorf("exit code %d: %s", code, errs)
					}
					mu.Lock()
					defer mu.Unlock()
					ids[strings.TrimSpace(out)]++
				})
			}
			wg.Wait()
			if len(ids) != 1 {
				t.Fatalf("got %d processes: %v", len(ids), ids)
			}
			for id := range ids {
				var events, jobs int
				err := pool.QueryRow(t.Context(), `select (select count(*) from towpath.event e join towpath.process p on p.no = e.process_no where p.id = $1),
					(select count(*) from river_job where args ->> 'process_id' = $1)`, id).Scan(&events, &jobs)
				if err != nil {
					t.Fatal(err)
				}
				if events != 1 || jobs != 1 {
					t.Errorf("%d events and %d jobs, want one of each", events, jobs)
				}
			}
			code, _, errs := invocation(t, dsn, "submit", "--profile", "echo", session, "--key", session, "something else")
			if code != exitOther || !strings.Contains(errs, "error: submit: idempotency_key was used for another request") {
				t.Errorf("another request with that key: exit code %d: %s", code, errs)
			}
		})
	}
	var sessions int
	if err := pool.QueryRow(t.Context(), "select count(*) from towpath.session").Scan(&sessions); err != nil {
		t.Fatal(err)
	}
	if sessions != 2 {
		t.Errorf("%d sessions, want two: one for each request", sessions)
	}
}
