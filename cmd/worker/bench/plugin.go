package bench

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/hostabi/engine"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker"
)

// Counts of the suite plugins.
const (
	drops      = 5
	swapEvery  = time.Second // under load
	swapTurns  = 4           // times as many turns as are measured without swaps, for some ten swaps
	dropWithin = time.Minute
	cooled     = 12 * time.Second // after which nothing is kept in memory only because it has just run
)

// plugins is the suite plugins: how soon a dropped file is served, what profiles cost, and what a hostile one does to others.
func plugins(ctx context.Context, o Options, emit func(Row)) (err error) {
	o.Turns, o.Profiles = cmp.Or(o.Turns, 400), cmp.Or(o.Profiles, 20)
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	wasm, err := dropIn(ctx, o, s.dir)
	if err != nil {
		return err
	}
	emit(Row{Name: "module_mb", Unit: "MB", Value: float64(len(wasm)) / 1e6})
	if err := dropped(ctx, o, s, wasm, emit); err != nil {
		return err
	}
	if err := replaced(ctx, o, s, wasm, emit); err != nil {
		return err
	}
	if err := flooded(ctx, o, s, emit); err != nil {
		return err
	}
	return crowded(ctx, o, s, wasm, emit)
}

//go:embed testdata/guest/main.go
var guestSource []byte

// dropIn is the module that is dropped: the one that was named, or a Go guest of about 2 MB, built here.
func dropIn(ctx context.Context, o Options, dir string) ([]byte, error) {
	if o.Plugin != "" {
		return os.ReadFile(o.Plugin)
	}
	source := filepath.Join(dir, "guest")
	err := errors.Join(os.MkdirAll(source, 0o700), os.WriteFile(filepath.Join(source, "main.go"), guestSource, 0o600),
		os.WriteFile(filepath.Join(source, "go.mod"), []byte("module measured\n\ngo 1.26\n"), 0o600))
	if err != nil {
		return nil, err
	}
	build := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", "guest.wasm", ".")
	build.Dir, build.Env = source, append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest, which needs Go in PATH: name a module with --plugin instead: %v\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(source, "guest.wasm"))
}

// marked is a module whose digest is another one: with a custom section at its end.
func marked(wasm []byte, n int) []byte {
	name := fmt.Sprintf("mark %d", n)
	section := append([]byte{0, byte(len(name) + 1), byte(len(name))}, name...)
	return append(append([]byte(nil), wasm...), section...)
}

// served hears which node serves which profile.
type served struct {
	slog.Handler
	heard chan<- string
	node  string
}

func (h *served) Enabled(context.Context, slog.Level) bool { return true }
func (h *served) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *served) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "profile is served" {
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "profile" {
				h.heard <- h.node + " " + a.Value.String()
			}
			return a.Key != "profile"
		})
	}
	return nil
}

// dropped measures from the file's name in the folder of one node to its profile on that node, and on another one.
func dropped(ctx context.Context, o Options, s *server, wasm []byte, emit func(Row)) (err error) {
	pool, err := s.open(ctx, "dropped")
	if err != nil {
		return err
	}
	defer pool.Close()
	heard := make(chan string, 100)
	folder := filepath.Join(s.dir, "dropped")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	for name, plugins := range map[string]string{"here": folder, "there": ""} {
		stop, startErr := startQuiet(ctx, pool, worker.Config{NodeID: name, Plugins: plugins, Cache: filepath.Join(s.dir, "cache-"+name),
			Logger: slog.New(&served{slog.DiscardHandler, heard, name})})
		if startErr != nil {
			return startErr
		}
		defer func() { err = errors.Join(err, stop()) }()
	}
	var cold, all, cached, load []float64
	for i := range min(drops, o.Profiles) {
		ms, err := compile(ctx, filepath.Join(s.dir, fmt.Sprintf("bare-%d", i)), marked(wasm, i))
		if err != nil {
			return err
		}
		load = append(load, ms)
		for _, kind := range []string{"cold", "cached"} {
			here, there, err := put(ctx, heard, folder, fmt.Sprintf("%s%d", kind, i), marked(wasm, i))
			if err != nil {
				return err
			}
			if kind == "cold" {
				cold, all = append(cold, here), append(all, there)
			} else {
				cached = append(cached, here)
			}
		}
	}
	base := percentile(load, 0.5)
	emit(Row{Name: "drop_to_served_cold_ms", Unit: "ms", Value: percentile(cold, 0.5), Baseline: base})
	emit(Row{Name: "drop_to_served_everywhere_cold_ms", Unit: "ms", Value: percentile(all, 0.5), Baseline: base})
	emit(Row{Name: "drop_to_served_cached_ms", Unit: "ms", Value: percentile(cached, 0.5), Baseline: base})
	return nil
}

// compile is the baseline: an engine with an empty cache loads the module.
func compile(ctx context.Context, cache string, wasm []byte) (ms float64, err error) {
	eng, err := engine.New(ctx, engine.Config{CacheDir: cache, Seed: []byte("bench"), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer eng.Close(ctx)
	began := time.Now()
	if _, err := eng.Load(ctx, wasm, engine.Limits{}); err != nil {
		return 0, err
	}
	return time.Since(began).Seconds() * 1000, nil
}

// startQuiet runs a worker in this process until stop.
func startQuiet(ctx context.Context, pool *pgxpool.Pool, cfg worker.Config) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	cfg.Pool, cfg.Ready = pool, func() { close(ready) }
	go func() { ended <- worker.Run(ctx, cfg) }()
	select {
	case <-ready:
		return func() error { cancel(); return <-ended }, nil
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("the worker did not start: %w", err)
	}
}

// put puts a file into the folder, as a whole, and waits until both nodes serve it.
func put(ctx context.Context, heard <-chan string, folder, name string, wasm []byte) (here, there float64, err error) {
	part := filepath.Join(folder, "."+name)
	if err := os.WriteFile(part, wasm, 0o600); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := os.Rename(part, filepath.Join(folder, name+".wasm")); err != nil {
		return 0, 0, err
	}
	late := time.After(dropWithin)
	for here == 0 || there == 0 {
		select {
		case said := <-heard:
			switch ms := time.Since(began).Seconds() * 1000; said {
			case "here " + name:
				here = ms
			case "there " + name:
				there = ms
			}
		case <-late:
			return 0, 0, fmt.Errorf("%s is not served within %v", name, dropWithin)
		case <-ctx.Done():
			return 0, 0, context.Cause(ctx)
		}
	}
	return here, there, nil
}

// replaced measures how soon turns start while their plugin is replaced over and over, and that none is lost. A plugin that
// was named may not greet: then it is a small one of ours.
func replaced(ctx context.Context, o Options, s *server, wasm []byte, emit func(Row)) (err error) {
	if o.Plugin != "" {
		wasm = assemble("ping", 0, 0)
	}
	pool, err := s.open(ctx, "replaced")
	if err != nil {
		return err
	}
	defer pool.Close()
	n, err := startNode(ctx, o, pool, filepath.Join(s.dir, "replaced"), "ping", wasm)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	file := filepath.Join(s.dir, "replaced", "ping", "ping.wasm")
	calm, err := n.starts(ctx, pool, o.Turns)
	if err != nil {
		return err
	}
	done, swapped := make(chan struct{}), make(chan error, 1)
	swaps := 0
	go func() {
		tick := time.NewTicker(swapEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				swapped <- nil
				return
			case <-tick.C:
				swaps++
				part := filepath.Join(filepath.Dir(file), ".part")
				if err := errors.Join(os.WriteFile(part, marked(wasm, swaps), 0o600), os.Rename(part, file)); err != nil {
					swapped <- err
					return
				}
			}
		}
	}()
	busy, err := n.starts(ctx, pool, swapTurns*o.Turns)
	close(done)
	if err = errors.Join(err, <-swapped); err != nil {
		return err
	}
	var lost int
	if err := pool.QueryRow(ctx, "select count(*) from towpath.processes where status <> 'completed' or attempt <> 1").Scan(&lost); err != nil {
		return err
	}
	for _, p := range []float64{0.5, 0.99} {
		emit(Row{Name: fmt.Sprintf("submit_to_guest_while_replaced_p%.0f_ms", p*100), Unit: "ms", Value: percentile(busy, p), Baseline: percentile(calm, p)})
	}
	emit(Row{Name: "turns_lost_while_replaced", Unit: fmt.Sprintf("of %d, %d swaps", swapTurns*o.Turns, swaps), Value: float64(lost)})
	return nil
}

// starts submits turns one after the other and says how soon each guest ran.
func (n *node) starts(ctx context.Context, pool *pgxpool.Pool, turns int) (ms []float64, err error) {
	for i := range turns + warmups {
		one, err := n.measure(ctx, pool)
		if err != nil {
			return nil, err
		}
		if i >= warmups {
			ms = append(ms, one)
		}
	}
	return ms, nil
}

// crowded measures a worker's memory with many profiles, all of the same size and each of which has run turns, beside one
// with none; and what the first turn of a profile costs whose module was put aside for others.
func crowded(ctx context.Context, o Options, s *server, wasm []byte, emit func(Row)) error {
	many := filepath.Join(s.dir, "many")
	none := filepath.Join(s.dir, "none")
	if err := errors.Join(os.MkdirAll(many, 0o700), os.MkdirAll(none, 0o700)); err != nil {
		return err
	}
	for i := range o.Profiles {
		if err := os.WriteFile(filepath.Join(many, fmt.Sprintf("p%d.wasm", i)), marked(wasm, 1000+i), 0o600); err != nil {
			return err
		}
	}
	var rss [2]float64
	var first, second []float64
	for i, folder := range []string{none, many} {
		name := fmt.Sprintf("crowd%d", i)
		dsn, err := s.database(ctx, name)
		if err != nil {
			return err
		}
		use := func(context.Context) error { return nil }
		if folder == many {
			use = func(ctx context.Context) (err error) { first, second, err = twice(ctx, dsn, o.Profiles); return err }
		}
		for range 2 { // the second start finds everything compiled, as a node's starts do
			if rss[i], err = weigh(ctx, o, dsn, folder, filepath.Join(s.dir, "cache"), use); err != nil {
				return err
			}
		}
	}
	emit(Row{Name: fmt.Sprintf("rss_of_%d_profiles_mb", o.Profiles), Unit: "MB", Value: rss[1] - rss[0], Baseline: rss[0]})
	emit(Row{Name: "turn_of_a_profile_put_aside_ms", Unit: "ms", Value: percentile(first, 0.5), Baseline: percentile(second, 0.5)})
	return nil
}

// twice runs two turns of each profile, one after the other.
func twice(ctx context.Context, dsn string, profiles int) (first, second []float64, err error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, nil, err
	}
	defer pool.Close()
	db := store.New(pool)
	for i := range profiles {
		for n := range 2 {
			began := time.Now()
			id, err := db.Submit(ctx, store.Submission{Profile: fmt.Sprintf("p%d", i), Input: []byte("{}")})
			if err != nil {
				return nil, nil, err
			}
			if err := db.Follow(ctx, id, 0, 5*time.Millisecond, false, func(store.Event) error { return nil }); err != nil {
				return nil, nil, err
			}
			if ms := time.Since(began).Seconds() * 1000; n == 0 {
				first = append(first, ms)
			} else {
				second = append(second, ms)
			}
		}
	}
	return first, second, nil
}

// weigh starts this program as a node and reads its memory once it was used.
func weigh(ctx context.Context, o Options, dsn, folder, cache string, use func(context.Context) error) (rss float64, err error) {
	child := exec.CommandContext(ctx, o.Program)
	child.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + dsn, "TOWPATH_PLUGINS=" + folder, "TOWPATH_CACHE_DIR=" + cache}
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 30 * time.Second
	pipe, err := child.StderrPipe()
	if err != nil {
		return 0, err
	}
	if err := child.Start(); err != nil {
		return 0, err
	}
	defer func() {
		stopErr := child.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, pipe)
		err = errors.Join(err, stopErr, child.Wait())
	}()
	if err := ready(pipe); err != nil {
		return 0, err
	}
	go io.Copy(io.Discard, pipe)
	if err := use(ctx); err != nil {
		return 0, err
	}
	if err := pause(ctx, cooled); err != nil {
		return 0, err
	}
	return resident(child.Process.Pid)
}
