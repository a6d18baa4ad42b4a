package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"github.com/towpath/towpath/store"
)

// fleet are the daemons of the suite: some are asked by URL, some by a command, the others not at all.
type fleet struct {
	pool    *pgxpool.Pool
	store   *store.Store
	program string
	dir     string // of logs
}

// byCommand adds a byte to a file, so that each run of it can be counted.
var byCommand = []string{"/bin/sh", "-c", "printf . >> asked"}

// names of the daemons, those that are asked by URL first, then those that are asked by a command.
func (f *fleet) names() []string {
	names := make([]string, fleetSize)
	for i := range names {
		kind := "url"
		if i >= fleetByURL {
			kind = "cmd"
		}
		if i >= fleetByURL+fleetByCmd {
			kind = "plain"
		}
		names[i] = fmt.Sprintf("%s-%d", kind, i)
	}
	return names
}

func (f *fleet) register(ctx context.Context) error {
	sleep := map[string]any{"command": "/bin/sleep", "args": []string{"100000"}}
	for _, name := range f.names() {
		spec := sleep
		switch {
		case strings.HasPrefix(name, "url"):
			spec = map[string]any{"command": f.program, "args": []string{Daemon, "{port}"}, "env": map[string]string{"GOMAXPROCS": "1"}, "health_url": "/health"}
		case strings.HasPrefix(name, "cmd"):
			spec = map[string]any{"command": "/bin/sleep", "args": []string{"100000"}, "health_cmd": byCommand}
		}
		spec["outlives"], spec["ready_s"], spec["grace_s"] = true, 120, 1
		text, err := json.Marshal(spec)
		if err == nil {
			err = f.store.PutSpec(ctx, name, text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// start starts daemons side by side, and says how long it took until all were ready.
func (f *fleet) start(ctx context.Context, names []string) (time.Duration, error) {
	before, err := f.count(ctx, "select count(*) from towpath.child where ready_at is not null")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	group, starting := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, name := range names {
		group.Go(func() error { _, err := f.store.StartDaemon(starting, name, "", ""); return err })
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	for {
		n, err := f.count(ctx, "select count(*) from towpath.child where ready_at is not null")
		if err != nil || n == before+len(names) {
			return time.Since(began), err
		}
		if time.Since(began) > 2*time.Minute {
			return 0, fmt.Errorf("%d of %d daemons are ready after two minutes", n-before, len(names))
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

func (f *fleet) count(ctx context.Context, sql string) (n int, err error) {
	err = f.pool.QueryRow(ctx, sql).Scan(&n)
	return n, err
}

// ports of those that are asked by URL.
func (f *fleet) ports(ctx context.Context) ([]int, error) {
	rows, err := f.pool.Query(ctx, "select port from towpath.daemons where name like 'url-%'")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int])
}

// answered says of each daemon how often it has been asked: by port, then those that are asked by a command.
func (f *fleet) answered(ports []int) ([]int, error) {
	var asked []int
	for _, port := range ports {
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/asked", port))
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		n := 0
		if err == nil {
			n, err = strconv.Atoi(string(text))
		}
		if err != nil {
			return nil, err
		}
		asked = append(asked, n)
	}
	for _, name := range f.names()[fleetByURL : fleetByURL+fleetByCmd] {
		info, err := os.Stat(filepath.Join(f.dir, name, "asked"))
		if err != nil {
			return nil, err
		}
		asked = append(asked, int(info.Size()))
	}
	http.DefaultClient.CloseIdleConnections()
	return asked, nil
}

// verify fails unless each daemon was asked as often as it should be, each answer was found good, and nobody was restarted.
func (f *fleet) verify(ctx context.Context, ports, before []int, took time.Duration) error {
	after, err := f.answered(ports)
	if err != nil {
		return err
	}
	want := int(took / interval)
	for i := range after {
		if n := after[i] - before[i]; n < want-1 || n > want+2 {
			return fmt.Errorf("a daemon was asked %d times in %v, not %d times", n, took, want)
		}
	}
	running, err := f.count(ctx, "select count(*) from towpath.daemons where state = 'running' and attempt = 1")
	if err != nil {
		return err
	}
	// What changed nothing is told every half minute.
	healthy, err := f.count(ctx, "select count(*) from towpath.daemons where health = 'healthy' and checked_at > towpath.now() - interval '1 minute'")
	if err == nil && (running != fleetSize || healthy != fleetByURL+fleetByCmd) {
		err = fmt.Errorf("%d of %d daemons run, %d are healthy", running, fleetSize, healthy)
	}
	return err
}

type runner struct {
	name, process string
	pid           int
}

// running are those of a name like this.
func (f *fleet) running(ctx context.Context, like string) ([]runner, error) {
	rows, err := f.pool.Query(ctx, "select name, process, pid from towpath.daemons where state = 'running' and name like $1", like)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (r runner, err error) {
		return r, row.Scan(&r.name, &r.process, &r.pid)
	})
}

// listen hears what happens to processes.
func (f *fleet) listen(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, f.pool.Config().ConnConfig)
	if err == nil {
		_, err = conn.Exec(ctx, "listen towpath_events")
	}
	return conn, err
}

// heard waits for a word of one of them.
func heard(ctx context.Context, conn *pgx.Conn, process string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil || n.Payload == process {
			return err
		}
	}
}

// end stops all of them, and sees to it that none is left.
func (f *fleet) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err := f.store.StopDaemons(ctx, "")
	for err == nil {
		var n int
		if n, err = f.count(ctx, "select count(*) from towpath.child"); n == 0 && err == nil {
			return nil
		}
		if err == nil {
			err = pause(ctx, 100*time.Millisecond)
		}
	}
	return errors.Join(fmt.Errorf("the daemons do not stop: %w", err), f.kill())
}

// kill ends what the worker has left, by the PID files that stand beside the logs.
func (f *fleet) kill() error {
	files, err := filepath.Glob(filepath.Join(f.dir, "*", "pid.json"))
	for _, file := range files {
		var child struct {
			PID     int
			Process string
		}
		text, readErr := os.ReadFile(file)
		if readErr != nil || json.Unmarshal(text, &child) != nil {
			continue
		}
		environ, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/environ", child.PID))
		if readErr == nil && strings.Contains(string(environ), "TOWPATH_PROCESS="+child.Process+"\x00") {
			err = errors.Join(err, syscall.Kill(child.PID, syscall.SIGKILL))
		}
	}
	return err
}

// Daemon is the hidden subcommand that a daemon of the suite is: it listens on a port and is always well.
const Daemon = "bench-daemon"

// RunDaemon answers /health, and /asked with how often that was, until ctx ends.
func RunDaemon(ctx context.Context, port string) error {
	var asked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	mux.HandleFunc("/asked", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, asked.Load()) })
	server := http.Server{Addr: "127.0.0.1:" + port, Handler: mux}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
