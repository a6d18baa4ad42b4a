package worker

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/storage"
)

// cellar is a node's collector with a root, and the database's side of it.
type cellar struct {
	*collector
	root *storage.Root
	t    *testing.T
	pool *pgxpool.Pool
	path string
}

func newCellar(t *testing.T) *cellar {
	t.Helper()
	c := &cellar{t: t, pool: queuetest.Pool(t), path: filepath.Join(t.TempDir(), "root")}
	root, err := storage.Open(c.path, false, 0)
	c.ok(err)
	c.root = root
	t.Cleanup(func() { root.Close() })
	db := store.New(c.pool)
	c.collector = &collector{store: db, roots: []storage.Place{root}, node: store.Node{ID: "n", Incarnation: uuid.New()}, log: slog.New(slog.DiscardHandler), every: time.Hour, temp: t.TempDir(), wake: make(chan struct{}, 1)}
	c.exec("select towpath.profile_put('p', 'd', '{}', '{}', 3, '1 minute', 'n')")
	return c
}

func (c *cellar) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cellar) exec(sql string, args ...any) {
	c.t.Helper()
	_, err := c.pool.Exec(c.t.Context(), sql, args...)
	c.ok(err)
}

func (c *cellar) text(sql string, args ...any) (v string) {
	c.t.Helper()
	c.ok(c.pool.QueryRow(c.t.Context(), sql, args...).Scan(&v))
	return v
}

// session has files.
func (c *cellar) session(id string) (dir string) {
	c.t.Helper()
	c.exec("select towpath.session_put($1, 'p')", id)
	dir, err := newPlaces(c.store, Config{Storage: c.root}).dir(c.t.Context(), id)
	c.ok(err)
	c.ok(os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700))
	c.ok(os.WriteFile(filepath.Join(dir, "a", "b", "c"), []byte("x"), 0o600))
	return dir
}

func (c *cellar) sound() {
	c.t.Helper()
	if broken := c.text("select coalesce(string_agg(rule || ': ' || subject || ': ' || detail, E'\n'), '') from towpath.check()"); broken != "" {
		c.t.Errorf("broken rules:\n%s", broken)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// A collector is killed at each step of its work, from the moment at which storage is due to the one at which its end is
// recorded. The next one completes it; what is in use stays as it is.
//
// feature: C33
func TestACollectorThatIsKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	for step, kill := range map[string]func(c *cellar, dir string){
		"before anything": func(*cellar, string) {},
		"marked": func(c *cellar, _ string) {
			_, err := c.store.DueStorage(c.t.Context(), []string{c.root.ID}, 10)
			c.ok(err)
		},
		"renamed": func(c *cellar, dir string) {
			c.exec("select towpath.storage_due(array[$1])", c.root.ID)
			c.ok(os.Rename(dir, filepath.Join(c.path, ".trash-"+filepath.Base(dir)+"-x")))
		},
		"half removed": func(c *cellar, dir string) {
			c.exec("select towpath.storage_due(array[$1])", c.root.ID)
			bin := filepath.Join(c.path, ".trash-"+filepath.Base(dir)+"-x")
			c.ok(os.Rename(dir, bin))
			c.ok(os.RemoveAll(filepath.Join(bin, "a")))
		},
		"removed": func(c *cellar, dir string) {
			c.exec("select towpath.storage_due(array[$1])", c.root.ID)
			c.ok(c.root.Remove(c.t.Context(), filepath.Base(dir)))
		},
		"recorded": func(c *cellar, dir string) {
			c.exec("select towpath.storage_due(array[$1])", c.root.ID)
			c.ok(c.root.Remove(c.t.Context(), filepath.Base(dir)))
			c.ok(c.store.GoneStorage(c.t.Context(), map[string]error{"old": nil}))
		},
	} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			c := newCellar(t)
			dir := c.session("old")
			c.exec("insert into towpath.clock (shift) values ('31 days')")
			used := c.session("used")
			c.exec("select towpath.submit('p', '{}', 'used')")
			// Made, and killed before it was recorded.
			lost, err := c.root.Dir("lost")
			c.ok(err)
			kill(c, dir)
			past := time.Now().Add(-2 * orphanAge)
			entries, err := os.ReadDir(c.path)
			c.ok(err)
			for _, e := range entries {
				c.ok(os.Chtimes(filepath.Join(c.path, e.Name()), past, past))
			}
			done, err := c.collect(t.Context())
			if c.ok(err); len(done.Trouble) > 0 {
				t.Errorf("trouble: %v", done.Trouble)
			}
			if state := c.text("select storage from towpath.session where id = 'old'"); state != "evicted" {
				t.Errorf("storage is %s", state)
			}
			if entries, err = os.ReadDir(c.path); err != nil || len(entries) != 2 || exists(dir) || exists(lost) || !exists(filepath.Join(used, "a", "b", "c")) {
				t.Errorf("left are %v, %v", entries, err)
			}
			if report := c.text("select coalesce((select e.data ->> 'orphans' from towpath.processes p, towpath.events(p.id) e where p.kind = 'gc' and e.type = 'gc.report'), '')"); report != fmt.Sprint(done.Orphans) || done.Orphans == 0 {
				t.Errorf("the report says %s, gone are %+v", report, done)
			}
			again, err := c.collect(t.Context())
			if c.ok(err); again.any() {
				t.Errorf("a second run removed %+v", again)
			}
			c.sound()
		})
	}
}

// What cannot be removed is told, kept, and tried again; it stops nobody else's removal.
func TestACollectorGoesOnAfterTrouble(t *testing.T) {
	t.Parallel()
	c := newCellar(t)
	c.exec("select towpath.session_put('stuck', 'p'), towpath.storage_put('stuck', 'dir', $1, false, 'not ours')", c.root.ID)
	dir := c.session("z")
	c.exec("insert into towpath.clock (shift) values ('31 days')")
	done, err := c.collect(t.Context())
	if c.ok(err); done.Evicted != 1 || len(done.Trouble) != 1 || exists(dir) {
		t.Errorf("%+v", done)
	}
	if s := c.text("select y.storage || ': ' || x.trouble from towpath.storage x join towpath.session y on y.id = session_id where session_id = 'stuck'"); !strings.HasPrefix(s, "evicting: storage: remove not ours: ") {
		t.Errorf("on record is %s", s)
	}
	c.exec("update towpath.storage set name = $1 where session_id = 'stuck'", storage.Name("stuck"))
	if done, err = c.collect(t.Context()); err != nil || done.Evicted != 1 || len(done.Trouble) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	c.sound()
}

// A root that is missing costs nothing but a line in the report.
func TestACollectorWithoutItsRoot(t *testing.T) {
	t.Parallel()
	c := newCellar(t)
	c.session("s")
	c.exec("insert into towpath.clock (shift) values ('31 days')")
	c.ok(os.Rename(c.path, c.path+".gone"))
	done, err := c.collect(t.Context())
	if c.ok(err); done.Evicted != 0 || len(done.Trouble) != 2 || !strings.Contains(done.Trouble[0], "replaced or unmounted") {
		t.Errorf("%+v", done)
	}
	c.ok(os.Rename(c.path+".gone", c.path))
	if done, err = c.collect(t.Context()); err != nil || done.Evicted != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

func TestTwoCollectorsOfOneRoot(t *testing.T) {
	t.Parallel()
	c := newCellar(t)
	for i := range 30 {
		c.session(fmt.Sprint("s", i))
	}
	c.exec("insert into towpath.clock (shift) values ('31 days')")
	kept := c.session("kept")
	other := *c
	other.collector = &collector{store: c.store, roots: c.roots, node: c.node, log: c.log, temp: t.TempDir(), wake: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	for _, x := range []*cellar{c, &other} {
		wg.Go(func() {
			done, err := x.collect(t.Context())
			if err != nil || len(done.Trouble) > 0 {
				t.Errorf("%+v, %v", done, err)
			}
		})
	}
	wg.Wait()
	if n := c.text("select count(*)::text from towpath.session where storage = 'evicted'"); n != "30" || !exists(kept) {
		t.Errorf("%s of 30 are evicted", n)
	}
	if entries, err := os.ReadDir(c.path); err != nil || len(entries) != 2 {
		t.Errorf("left are %v, %v", entries, err)
	}
	c.sound()
}

func TestFoldersOfKilledProcessesGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	past := time.Now().Add(-time.Hour)
	make := func(name string, age time.Time) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, age, age); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dead, child := make("towpath-engine-1", past), make("towpath-child-1", past)
	alive, young, other := make("towpath-engine-2", past), make("towpath-engine-3", time.Now()), make("towpath-else-1", past)
	if err := os.Symlink(other, filepath.Join(dir, "towpath-engine-link")); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(alive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if n, err := removeLeftovers(dir, leftoverAge); err != nil || n != 2 {
		t.Errorf("removed %d, %v", n, err)
	}
	for path, stays := range map[string]bool{dead: false, child: false, alive: true, young: true, other: true, filepath.Join(other, "x"): true} {
		if exists(path) != stays {
			t.Errorf("%s is there: %v", path, !stays)
		}
	}
}
