package prove

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded"
)

// LeaseTTL is the nodes' lease time while they are proved.
const LeaseTTL = 3 * time.Second

// profile is the backend whose turns are broken.
const profile = "deepseek"

const permits = `[[http]]
host = "%[1]s"
methods = ["POST"]
secrets = ["DEEPSEEK_API_KEY"]
private = true

[secrets.DEEPSEEK_API_KEY]
env = "DEEPSEEK_API_KEY"

[limits]
in_doubt = "retry"

[config]
base_url = "http://%[1]s"
thinking = "disabled"
`

// lane is a database, a provider and some nodes, for one cell after another.
type lane struct {
	options  Options
	name     string
	dir      string
	server   *embedded.Server // nil on a database of somebody else
	dsn      string
	pool     *pgxpool.Pool
	store    *store.Store
	provider *provider
	nodes    []*child
	started  int      // nodes, ever
	failed   []string // turns of broken cells

	mu     sync.Mutex
	passed []passing
	moved  chan struct{} // closed and replaced when passed grows
}

func openLane(ctx context.Context, o Options, name string, nodes int) (_ *lane, err error) {
	l := &lane{options: o, name: name, failed: []string{}, moved: make(chan struct{})}
	base := ""
	if os.Geteuid() == 0 {
		base = "/tmp" // root's Postgres runs as somebody else, who cannot enter every TMPDIR
	}
	if l.dir, err = os.MkdirTemp(base, "towpath-prove-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return nil, err
	}
	l.dsn = o.DatabaseURL
	if l.dsn == "" {
		if err := l.startServer(ctx); err != nil {
			return nil, err
		}
		l.dsn = l.server.DSN()
	}
	if l.pool, err = store.Open(ctx, l.dsn, false); err != nil {
		return nil, err
	}
	l.store = store.New(l.pool)
	if _, err := queue.Migrate(ctx, l.pool, queue.Options{}); err != nil {
		return nil, err
	}
	if l.provider, err = startProvider(); err != nil {
		return nil, err
	}
	if err := l.install(); err != nil {
		return nil, err
	}
	return l, l.fill(ctx, nodes)
}

func (l *lane) startServer(ctx context.Context) (err error) {
	l.server, err = embedded.Start(ctx, embedded.Config{
		Dir: filepath.Join(l.dir, "postgres"), BinDir: l.options.PostgresBin,
		Settings: map[string]string{"max_connections": "300"}, // the dead keep theirs for a while
	})
	return err
}

// install puts the plugin where the lane's nodes look, permitted to reach the lane's provider.
func (l *lane) install() error {
	wasm, err := os.ReadFile(l.options.Plugin)
	if err != nil {
		return err
	}
	folder := filepath.Join(l.dir, "plugins")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, profile+".wasm"), wasm, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, profile+".toml"), fmt.Appendf(nil, permits, l.provider.addr), 0o600)
}

// fill makes it n nodes that live, and waits until they take jobs and hold their locks.
func (l *lane) fill(ctx context.Context, n int) error {
	var living []*child
	for _, c := range l.nodes {
		select {
		case <-c.done:
		default:
			living = append(living, c)
		}
	}
	for len(living) > n { // there were fresh ones for the stopped
		living[0].kill()
		living = living[1:]
	}
	l.nodes = living
	for len(l.nodes) < n {
		if err := l.launch(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, c := range l.nodes {
		if err := c.awaitReady(ctx); err != nil {
			return err
		}
	}
	return l.until(ctx, "every node holds its lock", `select count(*) = $1 from towpath.node n join pg_locks k
		on k.locktype = 'advisory' and k.mode = 'ExclusiveLock' and k.granted and (k.classid::bigint << 32) + k.objid::bigint = n.lock_key
		where n.stopped_at is null and n.id = any($2)`, len(l.nodes), l.ids())
}

func (l *lane) ids() []string {
	ids := make([]string, len(l.nodes))
	for i, c := range l.nodes {
		ids[i] = c.id
	}
	return ids
}

// launch starts one more node. It is usable once it is ready.
func (l *lane) launch() error {
	l.started++
	id := fmt.Sprintf("prove-%s-%d", l.name, l.started)
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.Getenv("TMPDIR"), "DEEPSEEK_API_KEY=opens-nothing",
		"DATABASE_URL=" + l.named(id), "TOWPATH_PLUGINS=" + filepath.Join(l.dir, "plugins"), "TOWPATH_LOG_LEVEL=warn",
		"TOWPATH_CACHE_DIR=" + l.options.Cache,
	}
	c, err := start(l.options.Program, env, id, l.heard)
	if err == nil {
		l.nodes = append(l.nodes, c)
	}
	return err
}

// named is the lane's database for one node, whose connections can be told by it.
func (l *lane) named(id string) string {
	name := "application_name=" + id
	switch {
	case !strings.Contains(l.dsn, "://"):
		return l.dsn + " " + name + " pool_max_conns=8"
	case strings.Contains(l.dsn, "?"):
		return l.dsn + "&" + name + "&pool_max_conns=8"
	}
	return l.dsn + "?" + name + "&pool_max_conns=8"
}

// until asks the database the same question until the answer is true.
func (l *lane) until(ctx context.Context, what, query string, args ...any) error {
	for {
		var yes bool
		err := l.pool.QueryRow(ctx, query, args...).Scan(&yes)
		if err == nil && yes {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("waiting until %s: %w", what, context.Cause(ctx)), err)
		}
	}
}

// heard is told by nodes where their turns stand.
func (l *lane) heard(c *child, r report) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed = append(l.passed, passing{c, *r.Point, r.Hit, time.Now()})
	close(l.moved)
	l.moved = make(chan struct{})
}

// await waits for a passing that is wanted, be it one of before.
func (l *lane) await(ctx context.Context, what string, wanted func(passing) bool) (passing, error) {
	for seen := 0; ; {
		l.mu.Lock()
		fresh, moved := l.passed[seen:], l.moved
		seen = len(l.passed)
		l.mu.Unlock()
		for _, p := range fresh {
			if wanted(p) {
				return p, nil
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return passing{}, fmt.Errorf("waiting for %s: %w", what, context.Cause(ctx))
		}
	}
}

// forget empties the list of passings. Nobody may await meanwhile.
func (l *lane) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.passed = nil
}

// order tells every living node the same.
func (l *lane) order(o order) error {
	for _, c := range l.nodes {
		if err := c.order(o); err != nil && !errors.Is(err, errDead) {
			return err
		}
	}
	return nil
}

func (l *lane) close() error {
	for _, c := range l.nodes {
		c.kill() // some are stopped or blocked, and their database goes too
	}
	var errs []error
	if l.provider != nil {
		errs = append(errs, l.provider.stop())
	}
	if l.pool != nil {
		l.pool.Close()
	}
	if l.server != nil {
		errs = append(errs, l.server.Stop(context.Background()))
	}
	return errors.Join(append(errs, os.RemoveAll(l.dir))...)
}
