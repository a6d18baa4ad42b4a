package queuetest_test

import (
	"os"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// What one test inserts, another one does not see, though both begin with the same tables.
func TestEachTestHasAMigratedDatabaseOfItsOwn(t *testing.T) {
	pools := make([]*pgxpool.Pool, 3)
	var wg sync.WaitGroup
	for i := range pools {
		wg.Go(func() { pools[i] = queuetest.Pool(t) })
	}
	wg.Wait()
	for i, pool := range pools {
		if _, err := pool.Exec(t.Context(), "insert into river_job (kind, args) values ('turn', '{}')"); err != nil {
			t.Fatal(err)
		}
		var jobs int
		if err := pool.QueryRow(t.Context(), "select count(*) from river_job").Scan(&jobs); err != nil {
			t.Fatal(err)
		}
		if jobs != 1 {
			t.Errorf("database %d holds %d jobs", i, jobs)
		}
	}
}
