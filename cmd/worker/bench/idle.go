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
	dsn, err := s.watched(ctx, name)
	if err != nil {
		return seen, err
	}
	c, err := startChild(ctx, o, s, name, dsn, args...)
	if err != nil {
		return seen, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := pause(ctx, min(calm, o.Idle)); err != nil {
		return seen, err
	}
	if seen.queries, err = s.queries(func() error { return pause(ctx, o.Idle) }); err != nil {
		return seen, err
	}
	seen.rss, err = resident(c.pid())
	return seen, err
}

// child is this program as a process of its own.
type child struct {
	cmd  *exec.Cmd
	pipe io.Reader
}

// startChild runs this program on a database, with folders of its own, and returns when it takes jobs.
func startChild(ctx context.Context, o Options, s *server, name, dsn string, args ...string) (*child, error) {
	empty := filepath.Join(s.dir, name)
	if err := os.Mkdir(empty, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, o.Program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + dsn, "TOWPATH_PLUGINS=" + empty, "TOWPATH_CACHE_DIR=" + filepath.Join(s.dir, "cache"),
		"TOWPATH_DATA_DIR=" + filepath.Join(s.dir, name+"-data")}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what a terminal interrupts is the run, which stops it in its time
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd, pipe}
	if err := ready(pipe); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	go io.Copy(io.Discard, pipe)
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) stop() error {
	stopErr := c.cmd.Process.Signal(syscall.SIGTERM)
	_, _ = io.Copy(io.Discard, c.pipe)
	return errors.Join(stopErr, c.cmd.Wait())
}

// watched makes a migrated database whose statements, from the next connection on, are all in the log.
func (s *server) watched(ctx context.Context, name string) (string, error) {
	dsn, err := s.database(ctx, name)
	if err != nil {
		return "", err
	}
	conn, err := pgx.Connect(ctx, s.DSN())
	if err != nil {
		return "", err
	}
	_, err = conn.Exec(ctx, "alter database "+name+" set log_statement = 'all'")
	return dsn, errors.Join(err, conn.Close(ctx))
}

// queries counts the statements of watched databases, a minute, during what is done.
func (s *server) queries(during func() error) (perMinute float64, err error) {
	before, err := statements(s.log())
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := during(); err != nil {
		return 0, err
	}
	took := time.Since(began)
	after, err := statements(s.log())
	return float64(after-before) / took.Minutes(), err
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
