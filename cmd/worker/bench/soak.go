package bench

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/store"
)

const (
	soakTurns = 200_000
	soakLimit = 30 * time.Minute
	soakParts = 10
)

// soak runs turns for a long time with a retention of a minute, and compares the end with the middle: size of the
// database, latency of a submit, memory of this process.
func soak(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	pool, err := s.open(ctx, "soak")
	if err != nil {
		return err
	}
	defer pool.Close()
	l, err := newLane(ctx, pool, 4)
	if err != nil {
		return err
	}
	if _, err := pool.Exec(ctx, `select towpath.retention_put('{"processes": "1 minute", "sessions": "1 minute", "tombstones": "1 minute"}')`); err != nil {
		return err
	}
	turns := o.Turns
	if turns == 0 {
		turns = soakTurns
	}
	began, done := time.Now(), 0
	var sizes, waits, memory []float64
	for done < turns && time.Since(began) < soakLimit {
		took, err := l.work(ctx, func(ctx context.Context) error {
			part := time.Now()
			for time.Since(part) < min(soakLimit/(2*soakParts), time.Minute) {
				if err := sleep(ctx, 5*time.Second); err != nil {
					return err
				}
				if _, err := l.store.Prune(ctx, store.Prune{}); err != nil {
					return err
				}
				// River's cleaner does so after a day.
				if _, err := pool.Exec(ctx, "delete from river_job where finalized_at < now() - interval '1 minute'"); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		done += len(took)
		bytes, err := size(ctx, pool)
		if err != nil {
			return err
		}
		sizes, waits, memory = append(sizes, bytes), append(waits, percentile(took, 0.99)), append(memory, rss())
	}
	if len(sizes) < 4 {
		return errors.New("the soak was too short to compare its end with its middle: give it at least four minutes' worth of --turns")
	}
	middle, last := len(sizes)/2, len(sizes)-1
	emit(Row{Name: "soak_turns", Value: float64(done)})
	emit(Row{Name: "soak_size_bytes", Unit: "B", Value: sizes[last], Baseline: sizes[middle]})
	emit(Row{Name: "soak_submit_p99_ms", Unit: "ms", Value: waits[last], Baseline: waits[middle]})
	emit(Row{Name: "soak_rss_MiB", Unit: "MiB", Value: memory[last], Baseline: memory[middle]})
	return nil
}

// rss is this process's resident memory in MiB; 0 where nobody tells.
func rss() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	if err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
