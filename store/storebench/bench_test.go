package storebench_test

import (
	"os"
	"testing"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store/embedded/pgtest"
	"github.com/towpath/towpath/store/storebench"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// The figures are made on the real functions and leave no table behind.
func TestRun(t *testing.T) {
	pool := queuetest.Pool(t)
	rows, err := storebench.Run(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"append_rows_per_s", "claim_finish_per_s", "claim_finish_rows_per_s", "claim_finish_1ms_per_s"}
	if len(rows) != len(names) {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		t.Logf("%s %.0f %s, baseline %.0f, ratio %.2f", r.Name, r.Value, r.Unit, r.Baseline, r.Ratio)
		if r.Name != names[i] || r.Value <= 0 || r.Baseline <= 0 || r.Ratio != r.Value/r.Baseline {
			t.Errorf("row %+v", r)
		}
	}
	var state string
	err = pool.QueryRow(t.Context(), `select format('%s events, %s completed, %s tables', (select count(*) from towpath.event where type = 'message.delta'),
		(select count(*) from towpath.process where status = 'completed'), (select count(*) from pg_tables where tablename like 'bench%' or schemaname like 'bench%'))`).Scan(&state)
	if err != nil || state != "17600 events, 1760 completed, 0 tables" {
		t.Errorf("%s, %v", state, err)
	}
}
