package store_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// files are a session's in root r.
func files(session string) store.Storage {
	return store.Storage{Session: session, Kind: "dir", Root: "r", Name: "dir of " + session}
}

// provision records storage for a session.
func (w *world) provision(session string, ttl time.Duration) {
	w.Helper()
	state, err := w.store.PutStorage(w.Context(), files(session), false, 1000, ttl)
	w.ok(err)
	if state != "provisioned" {
		w.Errorf("storage of %s is %s", session, state)
	}
}

func (w *world) storage(session string) map[string]any {
	w.Helper()
	raw, err := w.store.StorageSummary(w.Context(), session)
	w.ok(err)
	var m map[string]any
	w.ok(json.Unmarshal(raw, &m))
	return m
}

func (w *world) due(want ...string) {
	w.Helper()
	list, err := w.store.DueStorage(w.Context(), []string{"r"}, 100)
	w.ok(err)
	var got []string
	for _, d := range list {
		got = append(got, d.Session)
	}
	if len(got) != len(want) {
		w.Fatalf("due is the storage of %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			w.Errorf("due is the storage of %v, want %v", got, want)
		}
	}
}

// feature: C31 D110
func TestStorageGoesOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	if state := w.storage("s")["state"]; state != "none" {
		t.Errorf("storage is %v", state)
	}
	w.deny("TW409", "has no storage", "select towpath.storage_refresh('s')")
	w.provision("s", 0)
	w.provision("s", 0) // again
	_, err := w.store.PutStorage(t.Context(), store.Storage{Session: "s", Kind: "dir", Root: "r", Name: "elsewhere"}, false, 0, 0)
	w.refused(err, store.ErrConflict, "made elsewhere first")
	sum := sha256.Sum256([]byte("x"))
	if ok, err := w.store.MeasuredStorage(t.Context(), "s", 10, 2, sum[:]); err != nil || !ok {
		t.Errorf("%v, %v", ok, err)
	}
	if s := w.storage("s"); s["bytes"] != 10.0 || s["files"] != 2.0 || s["quota"] != 1000.0 || s["kind"] != "dir" {
		t.Errorf("storage is %v", s)
	}
	state, err := w.store.DeleteStorage(t.Context(), "s", "enough")
	if w.ok(err); state != "evicting" {
		t.Errorf("storage is %s", state)
	}
	// Nothing brings it back: neither the one who measures it just now, nor one who would make it again.
	if ok, err := w.store.MeasuredStorage(t.Context(), "s", 11, 3, sum[:]); err != nil || ok {
		t.Errorf("a refresh of what is evicted: %v, %v", ok, err)
	}
	_, err = w.store.PutStorage(t.Context(), files("s"), false, 0, 0)
	w.refused(err, store.ErrEvicted, "enough")
	w.due("s")
	w.ok(w.store.GoneStorage(t.Context(), map[string]error{"s": errors.New("device is busy")}))
	if s := w.storage("s"); s["state"] != "evicting" || s["trouble"] != "device is busy" {
		t.Errorf("storage is %v", s)
	}
	w.due("s") // the next run tries again
	w.ok(w.store.GoneStorage(t.Context(), map[string]error{"s": nil}))
	w.ok(w.store.GoneStorage(t.Context(), map[string]error{"s": nil}))
	w.due()
	if s := w.storage("s"); s["state"] != "evicted" || s["trouble"] != nil || s["reason"] != "enough" || s["evicted_at"] == nil {
		t.Errorf("storage is %v", s)
	}
	w.deny("TW41E", "evicted", "select towpath.storage_refresh('s')")
	w.deny("TW41E", "evicted", "select towpath.storage_create('s')")
	w.deny("TW404", "unknown session", "select towpath.storage_summary('never')")
	w.deny("TW409", "cannot go", "update towpath.session set storage = 'provisioned' where id = 's'")
	w.sound()
}

// feature: C32 D110
func TestASessionWhoseFilesAreGoneTakesNoWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.complete(func() store.Owner { o, _ := w.run(w.submit("s"), node("n")); return o }())
	w.exec("select towpath.create_run('p', 's', null, '{\"id\": \"r\"}')")
	w.provision("s", 0)
	_, err := w.store.DeleteStorage(t.Context(), "s", "enough")
	w.ok(err)
	for _, state := range []string{"evicting", "evicted"} {
		jobs := get[int](w, "select count(*) from river_job where kind = 'turn'")
		_, err = w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: raw("{}"), Session: "s"})
		w.refused(err, store.ErrEvicted, "another session")
		w.deny("TW41E", "evicted", "select towpath.create_run('p', 's')")
		w.deny("TW41E", "evicted", "select towpath.create_command('r', 'turn', '{}')")
		w.deny("TW41E", "evicted", "select towpath.accept_input('s', 'prompt', '{}')")
		if n := get[int](w, "select count(*) from river_job where kind = 'turn'"); n != jobs {
			t.Errorf("%s: %d jobs, had %d", state, n, jobs)
		}
		w.ok(w.store.GoneStorage(t.Context(), map[string]error{"s": nil}))
	}
	w.sound()
}

// feature: C33
func TestWhatExpiresIsEvictedUnlessItsSessionWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range []string{"idle", "busy", "held", "soon", "destroyed", "late"} {
		w.session(s)
		w.provision(s, map[string]time.Duration{"soon": time.Hour, "late": 9000 * time.Hour}[s])
	}
	w.exec("select towpath.storage_put('idle', 'dir', 'r', false, 'dir of idle')")
	id := w.submit("busy")
	w.due()
	w.shift("2 hours")
	w.due("soon")
	w.exec("select towpath.session_control('destroyed', 'destroy')")
	w.due("soon", "destroyed")
	w.ok(w.store.GoneStorage(t.Context(), map[string]error{"soon": nil}))
	w.ok(w.store.GoneStorage(t.Context(), map[string]error{"destroyed": nil}))
	w.shift("31 days")
	tx := w.begin()
	if _, err := tx.Exec(t.Context(), "select 1 from towpath.session where id = 'held' for no key update"); err != nil {
		t.Fatal(err)
	}
	w.due("idle") // who holds its lock is at work there; what has work stays
	w.ok(tx.Rollback(t.Context()))
	w.due("idle", "held")
	_, err := w.store.Cancel(t.Context(), id, "enough", 0)
	w.ok(err)
	w.due("idle", "held") // it was used just now
	w.deny("TW409", "has work", "with x as (select towpath.submit('p', '{}', 'late')) select towpath.storage_delete('late') from x")
	w.exec("select towpath.retention_put('{\"storage\": \"1 hour\"}')")
	w.shift("2 hours")
	w.due("idle", "held", "busy")
	w.sound()
}

// A turn is delivered to whoever asks, and done by who has the files.
func TestATurnRunsWhereItsFilesAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here, there := node("here"), node("there")
	for _, n := range []store.Node{here, there} {
		w.start(n, "v", "h", 1, []string{"turns"})
	}
	w.ok(w.store.SetRoots(t.Context(), here, []string{"r"}))
	w.session("s")
	w.provision("s", 0)
	id := w.submit("s")
	job, args := w.deliver(id)
	if c := w.claim(there, job, args); c.Action != store.ActionElsewhere {
		t.Errorf("claim says %s", c.Action)
	}
	w.status(id, "queued")
	if c := w.claim(here, job, args); c.Action != store.ActionRun {
		t.Errorf("claim says %s", c.Action)
	}
	// A root that all nodes reach binds nobody.
	w.session("shared")
	_, err := w.store.PutStorage(t.Context(), files("shared"), true, 0, 0)
	w.ok(err)
	w.run(w.submit("shared"), there)
	w.sound()
}

// Two that collect at once, and one that reads what is known: each directory goes once, and none that is known.
func TestTwoCollectorsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("select towpath.session_put('s' || n, 'p'), towpath.storage_put('s' || n, 'dir', 'r', false, 'd' || n, null, '1 minute') from generate_series(1, 50) n")
	known, err := w.store.KnownStorage(t.Context(), "r", []string{"d1", "d2", "x"})
	if w.ok(err); len(known) != 2 {
		t.Errorf("known are %v", known)
	}
	w.shift("1 hour")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				list, err := w.store.DueStorage(t.Context(), []string{"r"}, 7)
				if err != nil || len(list) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				for _, d := range list {
					if err := w.store.GoneStorage(t.Context(), map[string]error{d.Session: nil}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := get[int](w, "select count(*) from towpath.session where storage = 'evicted'"); n != 50 {
		t.Errorf("%d of 50 are evicted", n)
	}
	w.sound()
	w.shift("91 days")
	if counts := w.pruned(store.Prune{}); counts["sessions"] != 50 {
		t.Errorf("gone are %v", counts)
	}
}

// A session is there for as long as its files are.
func TestASessionWithFilesIsNotPruned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.provision("s", 9000*time.Hour)
	w.shift("91 days")
	if counts := w.pruned(store.Prune{}); len(counts) != 0 {
		t.Errorf("gone are %v", counts)
	}
	w.shift("1000 days")
	w.due("s")
	w.ok(w.store.GoneStorage(t.Context(), map[string]error{"s": nil}))
	w.shift("91 days")
	if counts := w.pruned(store.Prune{}); counts["sessions"] != 1 {
		t.Errorf("gone are %v", counts)
	}
}

func TestWhatACollectorReportsIsAProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ok(w.store.ReportCollected(t.Context(), "n", map[string]int{"orphans": 3}))
	if got := get[string](w, `select concat_ws(' ', p.kind, p.label, p.status, e.data ->> 'orphans') from towpath.processes p, towpath.events(p.id) e where e.type = 'gc.report'`); got != "gc n completed 3" {
		t.Errorf("on record is %s", got)
	}
	job, err := w.store.CollectNow(t.Context())
	if w.ok(err); get[string](w, "select kind || ' ' || queue from river_job where id = $1", job) != "gc gc" {
		t.Error("no gc job")
	}
	w.sound()
}

func TestStorageThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.deny("TW409", "no node has a storage root", "select towpath.storage_create('s')")
	w.start(node("n"), "v", "h", 1, []string{"turns"})
	w.exec("update towpath.node set roots = '{r}'")
	for options, says := range map[string]string{`{"kind": "tape"}`: "options.kind", `{"quota": 0}`: "out of range", `{"ttl_s": 0.5}`: "out of range", `{"size": 1}`: "size"} {
		w.deny("TW400", says, "select towpath.storage_create('s', $1::jsonb)", options)
	}
	w.deny("TW404", "unknown session", "select towpath.storage_create('never')")
	w.deny("TW400", "reason", "select towpath.storage_delete('s', '')")
	job := get[int64](w, "select towpath.storage_create('s', '{\"quota\": 5}')")
	if args := get[string](w, "select args::text from river_job where id = $1", job); args != `{"kind": "dir", "quota": 5, "action": "create", "session": "s"}` {
		t.Errorf("the job's args are %s", args)
	}
	w.deny("TW409", "no node has storage of kind pvc", "select towpath.storage_create('s', '{\"kind\": \"pvc\"}')")
	for _, c := range []struct{ roots, options, kind string }{
		{"{r, pvc:u}", `{}`, "dir"}, {"{r, pvc:u}", `{"kind": "pvc"}`, "pvc"}, {"{pvc:u}", `{}`, "pvc"},
	} {
		w.exec("update towpath.node set roots = $1::text[]", c.roots)
		job := get[int64](w, "select towpath.storage_create('s', $1::jsonb)", c.options)
		if kind := get[string](w, "select args ->> 'kind' from river_job where id = $1", job); kind != c.kind {
			t.Errorf("with roots %s and options %s the job makes a %s", c.roots, c.options, kind)
		}
	}
	w.deny("TW409", "no node has storage of kind dir", "select towpath.storage_create('s', '{\"kind\": \"dir\"}')")
}
