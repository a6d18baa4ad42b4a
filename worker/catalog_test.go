package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"crypto/sha256"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/profiles"
)

// paper stands for the engine's module: its file is `module`, a manifest in JSON, and `end`.
type paper struct {
	wasm     []byte
	manifest hostabi.Manifest
}

func (m *paper) Digest() [32]byte                        { return sha256.Sum256(m.wasm) }
func (m *paper) Snapshot() [32]byte                      { return sha256.Sum256(m.wasm) }
func (m *paper) Manifest() hostabi.Manifest              { return m.manifest }
func (m *paper) Run(context.Context, hostabi.Host) error { return nil }
func (m *paper) Close(context.Context) error             { return nil }

func version(v int) string { return fmt.Sprintf(`module {"version":"%d"} end`, v) }

// fleet is a database with nodes that serve plugins.
type fleet struct {
	t     *testing.T
	pool  *pgxpool.Pool
	store *store.Store
}

func newFleet(t *testing.T) *fleet {
	pool := queuetest.Pool(t)
	return &fleet{t, pool, store.New(pool)}
}

// stall is a node's plugins: its folder, its registry, and how often it loaded a module.
type stall struct {
	*profiles.Registry
	t       *testing.T
	dir     string
	catalog *catalog
	loads   atomic.Int32
	stop    func()
}

// start makes a node that serves the folder, and watches it.
func (f *fleet) start(name, dir string) *stall {
	f.t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	s := &stall{t: f.t, dir: dir, catalog: &catalog{store: f.store, node: name, log: log, lines: map[string][]line{}}}
	s.Registry = profiles.New(func(_ context.Context, wasm []byte, _ profiles.Limits) (profiles.Module, error) {
		s.loads.Add(1)
		m := &paper{wasm: wasm}
		text, whole := strings.CutSuffix(string(wasm), " end")
		if !whole || json.Unmarshal([]byte(strings.TrimPrefix(text, "module ")), &m.manifest) != nil {
			return nil, errors.New("not a module; build it again")
		}
		return m, nil
	}, log)
	s.Share(s.catalog)
	if err := s.Scan(f.t.Context(), dir); err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	wake := make(chan struct{}, 1)
	var group sync.WaitGroup
	group.Go(func() { s.catalog.listen(ctx, false, wake) })
	group.Go(func() { s.catalog.write(ctx) })
	group.Go(func() { s.Watch(ctx, dir, wake) })
	var once sync.Once
	s.stop = func() { once.Do(func() { cancel(); group.Wait(); s.Close() }) }
	f.t.Cleanup(s.stop)
	return s
}

func (f *fleet) one(sql string, args ...any) string {
	f.t.Helper()
	var s string
	if err := f.pool.QueryRow(f.t.Context(), sql, args...).Scan(&s); err != nil {
		f.t.Fatal(err)
	}
	return s
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// until waits for what a node comes to by itself.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) { // a registry tells nobody
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// version gives the version of echo that the node serves: "" when it does not.
func (s *stall) version() string {
	p, err := s.Get("echo")
	if err != nil {
		return ""
	}
	defer p.Release()
	return p.Manifest.Version
}

func (s *stall) serves(want string) {
	s.t.Helper()
	until(s.t, fmt.Sprintf("node %s serves %q", s.catalog.node, want), func() bool { return s.version() == want })
}

func (s *stall) problem(text string) bool {
	for _, p := range s.Problems() {
		if strings.Contains(p.String(), text) {
			return true
		}
	}
	return false
}

func TestADroppedFileIsServedOnEveryNode(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.start("a", t.TempDir()), f.start("b", "")
	put(t, a.dir, "echo.wasm", version(1))
	a.serves("1")
	b.serves("1")
	running, err := b.Get("echo")
	if err != nil {
		t.Fatal(err)
	}
	put(t, a.dir, "echo.wasm", version(2))
	a.serves("2")
	b.serves("2")
	if running.Manifest.Version != "1" {
		t.Errorf("the turn that runs has version %s", running.Manifest.Version)
	}
	running.Release()
	if a.loads.Load() != 2 || b.loads.Load() != 2 {
		t.Errorf("a loaded %d times, b %d times", a.loads.Load(), b.loads.Load())
	}
	c := f.start("c", "") // later
	if c.version() != "2" {
		t.Errorf("a node that starts serves %q", c.version())
	}
}

// feature: C39
func TestOldAndNewNodesDoNotFlap(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	old, young := t.TempDir(), t.TempDir()
	put(t, old, "echo.wasm", version(1))
	put(t, young, "echo.wasm", version(2))
	a, b := f.start("a", old), f.start("b", young)
	a.serves("2")
	a.stop()
	a = f.start("a", old) // what it has is in the folder still
	if a.version() != "2" || !a.problem("newer module") {
		t.Errorf("the old node serves %q, problems %v", a.version(), a.Problems())
	}
	if b.version() != "2" {
		t.Errorf("the new node serves %q", b.version())
	}
	// To touch a file is an act.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(old, "echo.wasm"), later, later); err != nil {
		t.Fatal(err)
	}
	a.serves("1")
	b.serves("1")
	until(t, "the other file is the old one then", func() bool { return b.problem("newer module") && !a.problem("newer module") })
	if n := f.one("select count(*)::text from towpath.plugin where superseded_at is null"); n != "1" {
		t.Errorf("%s present plugins", n)
	}
}

func TestARemovedFileIsNoLongerServedAnywhere(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	dir, other := t.TempDir(), t.TempDir()
	put(t, dir, "echo.wasm", version(1))
	put(t, other, "echo.wasm", version(1)) // the same on another node
	a, b := f.start("a", dir), f.start("b", other)
	if err := os.Remove(filepath.Join(dir, "echo.wasm")); err != nil {
		t.Fatal(err)
	}
	a.serves("")
	b.serves("")
	if _, err := f.store.Submit(t.Context(), store.Submission{Profile: "echo", Input: []byte("{}")}); err == nil || !strings.Contains(err.Error(), `"echo" was removed`) {
		t.Errorf("submit: %v", err)
	}
	b.stop()
	if b = f.start("b", other); b.version() != "" || !b.problem("removed by a") {
		t.Errorf("a start brings %q back, problems %v", b.version(), b.Problems())
	}
	put(t, dir, "echo.wasm", version(1)) // put back
	a.serves("1")
	b.serves("1")
	// A rename is both.
	if err := os.Rename(filepath.Join(dir, "echo.wasm"), filepath.Join(dir, "parrot.wasm")); err != nil {
		t.Fatal(err)
	}
	b.serves("")
	until(t, "it has its new name", func() bool {
		p, err := b.Get("parrot")
		if err == nil {
			p.Release()
		}
		return err == nil
	})
	// A node that starts without the file takes nothing away.
	empty := f.start("c", t.TempDir())
	if got := strings.Join(empty.Names(), ","); got != "parrot" {
		t.Errorf("served are %s", got)
	}
}

// A file that is being written is left alone until it is whole; one that is not is named, and what was served stays.
func TestAHalfWrittenFileWaits(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a := f.start("a", t.TempDir())
	put(t, a.dir, "echo.wasm", version(1))
	a.serves("1")
	half := version(2)[:len(version(2))-4]
	put(t, a.dir, "echo.wasm", half)
	until(t, "half a file is named", func() bool {
		return a.problem("echo.wasm: not a module; build it again (another version is still served)")
	})
	if a.version() != "1" {
		t.Errorf("served is %q", a.version())
	}
	put(t, a.dir, "echo.wasm", version(2))
	a.serves("2")
	until(t, "nothing is wrong any more", func() bool { return len(a.Problems()) == 0 })
}

func TestPermitsOfANodeAndOfAll(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.start("a", t.TempDir()), f.start("b", t.TempDir())
	capacity := func(s *stall) int {
		p, err := s.Get("echo")
		if err != nil {
			return 0
		}
		defer p.Release()
		return p.Permits.Limits.Capacity
	}
	put(t, a.dir, "echo.wasm", version(1))
	b.serves("1")
	usual := profiles.DefaultLimits().Capacity
	if got := capacity(b); got != usual {
		t.Errorf("capacity is %d without permits", got)
	}
	shared := "[limits]\ncapacity = 7\n"
	if err := f.store.Permit(t.Context(), "echo", &shared, "alice"); err != nil {
		t.Fatal(err)
	}
	until(t, "permits by SQL hold everywhere", func() bool { return capacity(a) == 7 && capacity(b) == 7 })
	if got := f.one("select limits ->> 'capacity' from towpath.profile"); got != "7" {
		t.Errorf("the database has capacity %s", got)
	}
	put(t, b.dir, "echo.toml", "[limits]\ncapacity = 3\n") // no module beside it: that is of the database
	until(t, "a node's own file wins there", func() bool { return capacity(a) == 7 && capacity(b) == 3 })
	if len(b.Problems()) > 0 {
		t.Errorf("problems %v", b.Problems())
	}
	wrong := "[limit]\n"
	if err := f.store.Permit(t.Context(), "echo", &wrong, "alice"); err != nil {
		t.Fatal(err)
	}
	until(t, "wrong permits are named", func() bool { return a.problem("permits by SQL: line 1: limit is not known") })
	if capacity(a) != 7 {
		t.Errorf("capacity is %d then", capacity(a))
	}
	if err := f.store.Permit(t.Context(), "echo", nil, ""); err != nil {
		t.Fatal(err)
	}
	until(t, "permits are taken back", func() bool { return capacity(a) == usual && capacity(b) == 3 })
}

// What is damaged in the database is not run.
func TestAModuleIsVerified(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a := f.start("a", t.TempDir())
	put(t, a.dir, "echo.wasm", version(1))
	a.serves("1")
	f.one("with x as (update towpath.module set bytes = 'module {} end' returning 1) select 'x' from x")
	b := f.start("b", "")
	if b.version() != "" || !b.problem("is damaged in the database") || b.loads.Load() != 0 {
		t.Errorf("served is %q, loaded %d, problems %v", b.version(), b.loads.Load(), b.Problems())
	}
}

// A turn finds the module that it began with on a node that never had its file, also when the profile is removed.
func TestATurnFindsTheModuleThatItBeganWith(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.start("a", t.TempDir()), f.start("b", "")
	put(t, a.dir, "echo.wasm", version(1))
	b.serves("1")
	p, err := b.Get("echo")
	if err != nil {
		t.Fatal(err)
	}
	digest := p.Digest
	p.Release()
	for v := 2; v < 9; v++ { // more than a node keeps
		put(t, a.dir, "echo.wasm", version(v))
		b.serves(fmt.Sprint(v))
		for range 2 {
			if p, err = pinned(t.Context(), b.Registry, "echo", digest+"/snapshot"); err != nil || p.Digest != digest || p.Manifest.Version != "1" {
				t.Fatalf("pinned is %+v: %v", p, err)
			}
			p.Release()
		}
	}
	if n := b.loads.Load(); n != 9 {
		t.Errorf("%d loads, want one for each version and one for the pinned", n)
	}
	if err := a.catalog.Remove(t.Context(), "echo", p.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := f.store.RemovePlugin(t.Context(), "echo", "alice", ""); err != nil {
		t.Fatal(err)
	}
	b.serves("")
	if p, err = pinned(t.Context(), b.Registry, "echo", digest); err != nil || p.Digest != digest {
		t.Fatalf("of a removed profile: %v", err)
	}
	p.Release()
	f.one("with x as (delete from towpath.module returning 1) select count(*)::text from x")
	c := f.start("c", "")
	var unknown *profiles.ErrUnknownProfile
	if _, err = pinned(t.Context(), c.Registry, "echo", digest); !errors.As(err, &unknown) {
		t.Errorf("of a module that is gone: %v", err)
	}
}

func TestWhatBecameOfAPluginIsOnRecord(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a := f.start("a", t.TempDir())
	put(t, a.dir, "echo.wasm", version(1))
	a.serves("1")
	put(t, a.dir, "echo.wasm", "modu")
	until(t, "it is refused", func() bool { return a.problem("not a module") })
	a.stop() // which stores what is left
	list, err := f.store.PluginLines(t.Context(), "echo", 0, 10)
	if err != nil || len(list) < 2 {
		t.Fatalf("%v %v", list, err)
	}
	if l := list[0]; l.Node != "a" || l.Level != "info" || !strings.Contains(l.Line, `served: version "1"`) {
		t.Errorf("first is %+v", l)
	}
	if l := list[1]; l.Level != "error" || !strings.Contains(l.Line, "not a module") {
		t.Errorf("second is %+v", l)
	}
}
