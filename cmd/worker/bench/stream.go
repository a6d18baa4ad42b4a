package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

const (
	paceOfChunks = 5 * time.Millisecond  // of a stream whose cost is measured
	paceOfMany   = 50 * time.Millisecond // of each of many streams side by side: 20 chunks a second
	manyStreams  = 200
	manyChunks   = 120
	followed     = 10 // of the many
)

// stream is the suite stream: what a chunk costs, and how late readers see it when many stream at once.
func stream(ctx context.Context, o Options, emit func(Row)) (err error) {
	s, err := startServer(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for _, c := range []struct{ name, profile string }{{"chunk_overhead_us", "deepseek"}, {"minimax_chunk_overhead_us", "minimax-m3"}} {
		cost, err := chunkCost(ctx, o, s, c.profile)
		if err != nil {
			return fmt.Errorf("%s: %w", c.profile, err)
		}
		emit(Row{Name: c.name, Unit: "us", Value: cost})
	}
	lags, err := lag(ctx, o, s)
	if err != nil {
		return err
	}
	emit(Row{Name: "streams_200_lag_p50_ms", Unit: "ms", Value: percentile(lags, 0.5)})
	emit(Row{Name: "streams_200_lag_p99_ms", Unit: "ms", Value: percentile(lags, 0.99)})
	return codexAdded(ctx, o, s, emit)
}

// chunkCost is the CPU time of a node and of Postgres for each chunk of streams side by side, in microseconds.
func chunkCost(ctx context.Context, o Options, s *server, profile string) (us float64, err error) {
	p := &pacer{chunks: chunks, every: paceOfChunks}
	n, err := startPaced(ctx, o, s, profile, p)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	if err := n.run(ctx, streams); err != nil { // fills caches, registers the profile
		return 0, err
	}
	before, err := n.cpu(s)
	if err != nil {
		return 0, err
	}
	if err := n.run(ctx, streams); err != nil {
		return 0, err
	}
	after, err := n.cpu(s)
	return float64((after - before).Microseconds()) / (streams * chunks), err
}

// lag is how long after the provider sent a chunk a reader has it, in sorted milliseconds.
func lag(ctx context.Context, o Options, s *server) (ms []float64, err error) {
	p := &pacer{chunks: manyChunks, every: paceOfMany}
	n, err := startPaced(ctx, o, s, "deepseek", p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	ids, err := n.submit(ctx, manyStreams)
	if err != nil {
		return nil, err
	}
	readers, err := pgxpool.New(ctx, n.dsn+"&pool_max_conns=40")
	if err != nil {
		return nil, err
	}
	defer readers.Close()
	var mu sync.Mutex
	var reading sync.WaitGroup
	errs := make([]error, followed)
	for i := range followed {
		reading.Go(func() {
			errs[i] = store.New(readers).Follow(ctx, ids[i*manyStreams/followed], 0, time.Second, true, func(e store.Event) error {
				if e.Type != "message.delta" {
					return nil
				}
				var d struct{ Text string }
				if err := json.Unmarshal(e.Data, &d); err != nil {
					return err
				}
				sent, err := strconv.ParseInt(strings.TrimSpace(d.Text), 10, 64)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				ms = append(ms, float64(time.Now().UnixNano()-sent)/1e6)
				return nil
			})
		})
	}
	err = n.settle(ctx, manyStreams, manyChunks)
	reading.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	if len(ms) != followed*manyChunks {
		return nil, fmt.Errorf("readers saw %d chunks of %d", len(ms), followed*manyChunks)
	}
	slices.Sort(ms)
	return ms, nil
}

// paced is a node in a process of its own, in front of a provider that takes its time.
type paced struct {
	profile string
	dsn     string
	pool    *pgxpool.Pool
	child   *exec.Cmd
	chunks  int
	stop    func() error
}

func startPaced(ctx context.Context, o Options, s *server, profile string, p *pacer) (*paced, error) {
	key := strings.ToUpper(strings.TrimSuffix(profile, "-m3")) + "_API_KEY"
	n, err := startBefore(ctx, o, s, profile, fmt.Sprintf("paced_%s_%d", strings.ReplaceAll(profile, "-", "_"), p.chunks), p, func(provider string) string {
		return permits(provider, key, "BENCH_KEY", fmt.Sprintf("[limits]\ncapacity = %d\n\n", manyStreams)+chatty(provider))
	})
	if err == nil {
		n.chunks = p.chunks
	}
	return n, err
}

// startBefore runs a node in front of a provider, which permits names by its address.
func startBefore(ctx context.Context, o Options, s *server, profile, name string, p http.Handler, permits func(provider string) string) (*paced, error) {
	dsn, err := s.database(ctx, name)
	if err != nil {
		return nil, err
	}
	pool, err := store.Open(ctx, dsn, false)
	if err != nil {
		return nil, err
	}
	provider := httptest.NewServer(p)
	plugins, err := onePlugin(o, s, profile, name, permits(provider.Listener.Addr().String()))
	if err != nil {
		return nil, err
	}
	child := exec.CommandContext(ctx, o.Program, "--turns", strconv.Itoa(manyStreams), "--plugins", plugins, "--cache-dir", filepath.Join(s.dir, "cache"))
	child.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + dsn, "BENCH_KEY=opens-nothing"}
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 30 * time.Second
	pipe, err := child.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := child.Start(); err != nil {
		return nil, err
	}
	n := &paced{profile: profile, dsn: dsn, pool: pool, child: child}
	n.stop = func() error {
		err := child.Process.Signal(syscall.SIGTERM)
		err = errors.Join(err, child.Wait())
		pool.Close()
		provider.CloseClientConnections()
		provider.Close()
		return err
	}
	if err := ready(pipe); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	go io.Copy(io.Discard, pipe)
	return n, nil
}

// permits let a profile ask a provider of this machine, with a key from a variable of the environment; rest is what else
// stands in the file.
func permits(provider, secret, variable, rest string) string {
	return fmt.Sprintf(`[[http]]
host = "%[1]s"
methods = ["POST"]
secrets = ["%[2]s"]
private = true

[secrets.%[2]s]
env = "%[3]s"

%[4]s`, provider, secret, variable, rest)
}

// chatty are the settings of profiles that stream from such a provider.
func chatty(provider string) string {
	return fmt.Sprintf("[config]\nbase_url = \"http://%s\"\nthinking = \"disabled\"\n", provider)
}

// onePlugin makes a plugins folder with one profile.
func onePlugin(o Options, s *server, profile, name, permits string) (string, error) {
	wasm, err := os.ReadFile(filepath.Join(filepath.Dir(o.Program), "plugins", profile+".wasm"))
	if err != nil {
		return "", fmt.Errorf("the suite needs the plugin beside the worker; `make build` puts it there: %w", err)
	}
	folder := filepath.Join(s.dir, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(folder, profile+".toml"), []byte(permits), 0o600); err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, profile+".wasm"), wasm, 0o600)
}

func (n *paced) submit(ctx context.Context, turns int) (ids []string, err error) {
	err = n.pool.QueryRow(ctx, `select array_agg(towpath.submit($1, '{"text":"go"}')) from generate_series(1, $2)`, n.profile, turns).Scan(&ids)
	return ids, err
}

// run runs turns side by side to their ends.
func (n *paced) run(ctx context.Context, turns int) error {
	if _, err := n.pool.Exec(ctx, "delete from towpath.event"); err != nil {
		return err
	}
	if _, err := n.submit(ctx, turns); err != nil {
		return err
	}
	return n.settle(ctx, turns, n.chunks)
}

// settle waits for all turns and checks that they said everything.
func (n *paced) settle(ctx context.Context, turns, pieces int) error {
	if err := settled(ctx, n.pool); err != nil {
		return err
	}
	var said, bad int
	err := n.pool.QueryRow(ctx, `select (select count(*) from towpath.event where type = 'message.delta'),
		(select count(*) from towpath.process where status <> 'completed')`).Scan(&said, &bad)
	if err == nil && (said != turns*pieces || bad > 0) {
		err = fmt.Errorf("%d turns did not complete; %d pieces were said, not %d", bad, said, turns*pieces)
	}
	return err
}

// cpu is what the node and Postgres, with all its processes, have used.
func (n *paced) cpu(s *server) (time.Duration, error) {
	node, err := cpuOf(n.child.Process.Pid)
	if err != nil {
		return 0, err
	}
	total, err := cpuOf(s.PID())
	if err != nil {
		return 0, err
	}
	children, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, file := range children {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if fields, err := statOf(pid); err == nil && fields[1] == strconv.Itoa(s.PID()) {
			if used, err := cpuOf(pid); err == nil { // gone meanwhile: then the parent has its time
				total += used
			}
		}
	}
	return total + node, nil
}

// statOf is what the kernel says of a process behind its name: state, parent, …
func statOf(pid int) ([]string, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(content[strings.LastIndexByte(string(content), ')')+1:]))
	if len(fields) < 15 {
		return nil, fmt.Errorf("process %d: %s", pid, content)
	}
	return fields, nil
}

// cpuOf is the CPU time of a process and of the children that it has waited for.
func cpuOf(pid int) (time.Duration, error) { return cpuTime(pid, 4) }

// ownCPUOf is the CPU time of a process without its children's.
func ownCPUOf(pid int) (time.Duration, error) { return cpuTime(pid, 2) }

// cpuTime sums user and system time, and with four kinds the children's; the kernel counts in hundredths.
func cpuTime(pid, kinds int) (time.Duration, error) {
	fields, err := statOf(pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, f := range fields[11 : 11+kinds] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// pacer is a provider whose every chunk says when it was sent. It ends streams in a way that both profiles take.
type pacer struct {
	chunks int
	every  time.Duration
}

func (p *pacer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for range p.chunks {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
		_, err := fmt.Fprintf(w, `data: {"id":"bench","choices":[{"index":0,"delta":{"content":"%d ","role":"assistant"},"finish_reason":null}],"created":1793000000,"model":"m","object":"chat.completion.chunk","usage":null}`+"\n\n", time.Now().UnixNano())
		if err != nil || flush() != nil {
			return
		}
	}
	_, _ = io.WriteString(w, `data: {"id":"bench","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"model":"m","usage":{"prompt_tokens":1,"completion_tokens":1}}`+"\n\ndata: [DONE]\n\n")
}
