package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
)

// QueueOnly is the hidden subcommand of the baseline: a process with nothing but the queue.
const QueueOnly = "bench-queue-only"

// RunQueueOnly works the queues of a database without any handler until ctx ends, and says "msg=ready" when it does.
func RunQueueOnly(ctx context.Context, dsn string, log io.Writer) error {
	pool, err := store.Open(ctx, dsn, false)
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := queue.New(queue.Config{Pool: pool, NodeID: QueueOnly})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	fmt.Fprintln(log, "msg=ready")
	<-ctx.Done()
	return client.Stop(context.WithoutCancel(ctx))
}

// idle measures what a node costs that has nothing to do.
func idle(ctx context.Context, o Options, s *server, emit func(Row)) error {
	node, err := watch(ctx, o, s, "idle")
	if err != nil {
		return err
	}
	base, err := watch(ctx, o, s, "idle_queue", QueueOnly)
	if err != nil {
		return err
	}
	emit(Row{Name: "idle_rss_mb", Unit: "MB", Value: node.rss, Baseline: base.rss})
	emit(Row{Name: "idle_queries_per_min", Unit: "1/min", Value: node.queries, Baseline: base.queries})
	return nil
}

// calm is how long a child may take to settle before it is watched: its first profiles, queues and leadership.
const calm = 10 * time.Second

type idleness struct{ rss, queries float64 }

// watch runs this program as a child on a database of its own and counts what it does.
func watch(ctx context.Context, o Options, s *server, name string, args ...string) (seen idleness, err error) {
	dsn, err := s.database(ctx, name)
	if err != nil {
		return seen, err
	}
	// From the next connection on every statement is in the log.
	conn, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return seen, err
	}
	_, err = conn.Exec(ctx, "alter database "+name+" set log_statement = 'all'")
	if err = errors.Join(err, conn.Close(ctx)); err != nil {
		return seen, err
	}
	empty := filepath.Join(s.dir, name)
	if err := os.Mkdir(empty, 0o700); err != nil {
		return seen, err
	}
	child := exec.CommandContext(ctx, o.Program, args...)
	child.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + dsn, "TOWPATH_PLUGINS=" + empty, "TOWPATH_CACHE_DIR=" + filepath.Join(s.dir, "cache")}
	child.Cancel = func() error { return child.Process.Signal(syscall.SIGTERM) }
	child.WaitDelay = 30 * time.Second
	pipe, err := child.StderrPipe()
	if err != nil {
		return seen, err
	}
	if err := child.Start(); err != nil {
		return seen, err
	}
	defer func() {
		stopErr := child.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, pipe)
		err = errors.Join(err, stopErr, child.Wait())
	}()
	if err := ready(pipe); err != nil {
		return seen, err
	}
	go io.Copy(io.Discard, pipe)
	if err := pause(ctx, min(calm, o.Idle)); err != nil {
		return seen, err
	}
	before, err := statements(s.log())
	if err != nil {
		return seen, err
	}
	if err := pause(ctx, o.Idle); err != nil {
		return seen, err
	}
	after, err := statements(s.log())
	if err != nil {
		return seen, err
	}
	seen.queries = float64(after-before) / o.Idle.Minutes()
	seen.rss, err = resident(child.Process.Pid)
	return seen, err
}

// ready reads a child's log until it takes jobs.
func ready(log io.Reader) error {
	lines := bufio.NewScanner(log)
	var last string
	for lines.Scan() {
		last = lines.Text()
		if strings.Contains(last, "msg=ready") {
			return nil
		}
	}
	return fmt.Errorf("the child ended: %s", last)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// statement begins each statement of the server's log, by either protocol.
var statement = regexp.MustCompile(`(?m)LOG:  (statement|execute [^:]*): `)

func statements(log string) (int, error) {
	text, err := os.ReadFile(log)
	return len(statement.FindAllIndex(text, -1)), err
}

// resident is a process's memory in MB.
func resident(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
				kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
				return kb / 1000, err
			}
		}
	}
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("memory of process %d: %w", pid, err)
	}
	kb, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	return kb / 1000, err
}
