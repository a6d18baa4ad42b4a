package store_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/towpath/towpath/store"
)

func ptr[T any](v T) *T { return &v }

func recorded(id string) store.Runtime {
	return store.Runtime{ID: id, ClientID: "claude", PID: ptr(4711), Status: "running", Cwd: "/work", Command: "claude", Args: []string{"--fast", ""}, StartedAt: 1_700_000_000_123}
}

func (w *world) record(r store.Runtime) {
	w.Helper()
	_, err := w.store.SetRuntime(w.Context(), r)
	w.ok(err)
}

func (w *world) runtime(l store.Locator) *store.Runtime {
	w.Helper()
	r, err := w.store.Runtime(w.Context(), l)
	w.ok(err)
	return r
}

// feature: C2 C3 D73
func TestARuntimeRecordFromSetToDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := recorded("r")
	whole.Env = map[string]string{"PATH": "/bin", "EMPTY": ""}
	whole.Session, whole.AdapterSession, whole.Metadata = "s", "a", raw(`{"a": null, "b": {"c": 1}}`)
	whole.Host, whole.Incarnation = "n", ptr(uuid.New())
	w.record(whole)
	got := w.runtime(store.Locator{ID: "r"})
	whole.Version = 1
	if !reflect.DeepEqual(*got, whole) {
		t.Errorf("stored %+v, read %+v", whole, *got)
	}
	update := func(changes string) error {
		var c map[string]any
		w.ok(json.Unmarshal([]byte(changes), &c))
		there, err := w.store.UpdateRuntime(t.Context(), "r", c)
		if err == nil && !there {
			t.Errorf("%s: no such record", changes)
		}
		return err
	}
	// What is not given stays, a pid may go, a session may not.
	w.ok(update(`{}`))
	w.ok(update(`{"pid": null}`))
	w.ok(update(`{"session": "s2", "metadata": {"x": 1}}`))
	got = w.runtime(store.Locator{ID: "r"})
	want := whole
	want.PID, want.Session, want.Metadata, want.Version = nil, "s2", raw(`{"x": 1}`), 3
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("updated to %+v, want %+v", *got, want)
	}
	w.refused(update(`{"session": null}`), store.ErrInvalid, "record.session")
	for _, fixed := range []string{"client_id", "cwd", "command", "args", "env", "started_at", "id", "host"} {
		w.refused(update(fmt.Sprintf(`{%q: "x"}`, fixed)), store.ErrInvalid, fixed+" is not known")
	}
	// Replaced whole: what is left out is cleared.
	plain := recorded("r")
	w.record(plain)
	plain.Version = 4
	if got = w.runtime(store.Locator{ID: "r"}); !reflect.DeepEqual(*got, plain) {
		t.Errorf("replaced by %+v, read %+v", plain, *got)
	}
	if there, err := w.store.UpdateRuntime(t.Context(), "none", map[string]any{"pid": nil}); err != nil || there {
		t.Errorf("updated nobody: %v, %v", there, err)
	}
	for _, want := range []bool{true, false} {
		if gone, err := w.store.DeleteRuntime(t.Context(), "r"); err != nil || gone != want {
			t.Errorf("deleted: %v, %v", gone, err)
		}
	}
	if w.runtime(store.Locator{ID: "r"}) != nil {
		t.Error("it is still there")
	}
}

// feature: C4
func TestDeletingARuntimeThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record(recorded("a"))
	for id, want := range map[string]bool{"a": true, "b": false} {
		if gone, err := w.store.DeleteRuntime(t.Context(), id); err != nil || gone != want {
			t.Errorf("%s: %v, %v", id, gone, err)
		}
	}
}

// feature: C1 D72
func TestARuntimeByExactlyOneLocator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, status := range []string{"exited", "running", "stopped"} {
		r := recorded(fmt.Sprintf("r%d", i))
		r.Status, r.Session, r.AdapterSession, r.StartedAt = status, "s", fmt.Sprintf("a%d", i), r.StartedAt+int64(i)
		if status != "running" {
			r.PID = nil
		}
		w.record(r)
	}
	for _, c := range []struct {
		by   store.Locator
		want string
	}{
		{store.Locator{ID: "r2"}, "r2"}, {store.Locator{Session: "s"}, "r1"}, {store.Locator{AdapterSession: "a0"}, "r0"},
		{store.Locator{ID: "x"}, ""}, {store.Locator{Session: "x"}, ""}, {store.Locator{AdapterSession: "x"}, ""},
	} {
		got := ""
		if r := w.runtime(c.by); r != nil {
			got = r.ID
		}
		if got != c.want {
			t.Errorf("%+v: %q, want %q", c.by, got, c.want)
		}
	}
	for _, l := range []store.Locator{{}, {ID: "r0", Session: "s"}, {Session: "s", AdapterSession: "a0"}, {"r0", "s", "a0"}} {
		_, err := w.store.Runtime(t.Context(), l)
		w.refused(err, store.ErrInvalid, "exactly one of id, session, adapter_session")
	}
	// Two that run cannot have one session.
	other := recorded("other")
	other.Session = "s"
	_, err := w.store.SetRuntime(t.Context(), other)
	w.refused(err, store.ErrConflict, "another running runtime")
	_, err = w.store.StopRuntime(t.Context(), "r1")
	w.ok(err)
	if r := w.runtime(store.Locator{Session: "s"}); r.ID != "r2" { // the newest, since none runs
		t.Errorf("%+v", r)
	}
	w.record(other)
	// A copy: nobody changes the record by it.
	r := w.runtime(store.Locator{ID: "other"})
	r.Args[0] = "changed"
	if again := w.runtime(store.Locator{ID: "other"}); again.Args[0] != "--fast" {
		t.Error("a reader changed the record")
	}
}

// feature: C3 C7 C8
func TestStatusesOfARuntime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := []string{"running", "stopped", "exited", "unknown"}
	legal := map[string][]string{"running": all, "unknown": {"unknown", "running", "exited"}, "stopped": {"stopped"}, "exited": {"exited"}}
	for _, from := range all {
		for _, to := range all {
			r := recorded(from + "-" + to)
			if r.Status = from; from != "running" {
				r.PID = nil
			}
			w.record(r)
			_, err := w.store.UpdateRuntime(t.Context(), r.ID, map[string]any{"status": to, "exit_code": 3, "exit_signal": "TERM", "stopped_at": 1_700_000_001_000})
			if slices.Contains(legal[from], to) {
				w.ok(err)
				got := w.runtime(store.Locator{ID: r.ID})
				if got.Status != to || (got.PID != nil) != (from == "running" && to == "running") || *got.ExitCode != 3 || got.ExitSignal != "TERM" || *got.StoppedAt != 1_700_000_001_000 {
					t.Errorf("%s to %s: %+v", from, to, got)
				}
			} else {
				w.refused(err, store.ErrConflict, fmt.Sprintf("is %s and cannot become %s", from, to))
			}
		}
		r := recorded("stop-" + from)
		if r.Status = from; from != "running" {
			r.PID = nil
		}
		w.record(r)
		stopped, err := w.store.StopRuntime(t.Context(), r.ID)
		w.ok(err)
		got := w.runtime(store.Locator{ID: r.ID})
		if stopped != (from == "running") || from != "running" && (got.Status != from || got.Version != 1) || from == "running" && (got.Status != "stopped" || got.PID != nil || got.StoppedAt == nil) {
			t.Errorf("stop of %s: %v, %+v", from, stopped, got)
		}
	}
	_, err := w.store.UpdateRuntime(t.Context(), "exited-exited", map[string]any{"pid": 1})
	w.refused(err, store.ErrConflict, "has no pid")
	if stopped, err := w.store.StopRuntime(t.Context(), "none"); err != nil || stopped {
		t.Errorf("stop of nobody: %v, %v", stopped, err)
	}
}

// feature: C8
func TestASupervisorThatBeginsReconciles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before, now, other, gone, stopped := node("n"), node("n"), node("other"), node("gone"), node("stopped")
	for _, n := range []store.Node{before, other, stopped} {
		w.start(n, "v", "h", 1, []string{})
	}
	w.ok(w.store.StopNode(t.Context(), stopped))
	put := func(id string, n store.Node) {
		r := recorded(id)
		r.Host, r.Incarnation = n.ID, &n.Incarnation
		w.record(r)
	}
	put("before", before)
	put("other", other)
	put("gone", gone)
	put("of-stopped", stopped)
	w.record(recorded("nobodys"))
	ended := recorded("ended")
	ended.PID, ended.Status, ended.Host, ended.Incarnation = nil, "exited", before.ID, &before.Incarnation
	w.record(ended)
	w.start(now, "v", "h", 2, []string{})
	put("now", now)
	n, err := w.store.ReconcileRuntimes(t.Context(), now)
	w.ok(err)
	if got := get[string](w, "select string_agg(id || ' ' || status || coalesce(' ' || pid, ''), ', ' order by id) from towpath.runtime_record"); n != 3 ||
		got != "before unknown, ended exited, gone unknown, nobodys running 4711, now running 4711, of-stopped unknown, other running 4711" {
		t.Errorf("%d: %s", n, got)
	}
	w.settle() // the other node has been silent for a minute
	_, err = w.store.Renew(t.Context(), now, ttl)
	w.ok(err)
	if n, err = w.store.ReconcileRuntimes(t.Context(), now); err != nil || n != 1 || w.runtime(store.Locator{ID: "other"}).Status != "unknown" || w.runtime(store.Locator{ID: "now"}).Status != "running" {
		t.Errorf("a silent host: %d, %v", n, err)
	}
	w.deny("TW400", "host or incarnation", "select towpath.runtime_reconcile('', gen_random_uuid())")
}

// feature: C5 D73
func TestListsOfRuntimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 23 {
		r := recorded(fmt.Sprintf("r%02d", i))
		r.StartedAt += int64(i / 7) // many of one moment
		if i%2 == 1 {
			r.Status, r.PID = "exited", nil
		}
		w.record(r)
		want = append(want, r.ID)
	}
	read := func(status string, max int) []string {
		var ids []string
		place := ""
		for {
			page, err := w.store.ListRuntimes(t.Context(), status, place, max)
			w.ok(err)
			for _, r := range page {
				if r.Runtime.Command != "claude" || len(r.Runtime.Args) != 2 {
					t.Errorf("not whole: %+v", r)
				}
				ids = append(ids, r.Runtime.ID)
			}
			if len(page) < max {
				return ids
			}
			place = page[len(page)-1].Place
			_, err = w.store.StopRuntime(t.Context(), ids[0])
			w.ok(err)
		}
	}
	if got := read("", 5); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := read("exited", 4); len(got) != 11 || got[0] != "r01" {
		t.Errorf("exited: %v", got)
	}
	if got := read("stopped", 4); !slices.Equal(got, []string{"r00"}) {
		t.Errorf("stopped: %v", got)
	}
	if got := read("unknown", 4); got != nil {
		t.Errorf("unknown: %v", got)
	}
}

// feature: C3
func TestWritersOfARuntimeSeeEachOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record(recorded("r"))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := w.store.UpdateRuntime(t.Context(), "r", map[string]any{"pid": 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if v := w.runtime(store.Locator{ID: "r"}).Version; v != 17 {
		t.Errorf("version %d after 16 updates", v)
	}
	w.deny("TW40V", "at version 17, not 3", `select towpath.runtime_update('r', '{"pid": 2}', 3)`)
	record, err := json.Marshal(recorded("r"))
	w.ok(err)
	// What is named like a credential is none of ours, whatever it looks like.
	w.exec("select towpath.runtime_set($1::jsonb || '{\"env\": {\"DEPLOY_TOKEN\": \"plain words\", \"HOME\": \"/home/x\"}}', 17)", json.RawMessage(record))
	if env := get[string](w, "select env::text from towpath.runtime_record where id = 'r'"); env != `{"HOME": "/home/x", "DEPLOY_TOKEN": "[redacted]"}` {
		t.Errorf("env %s", env)
	}
	w.deny("TW40V", "not at version 3", "select towpath.runtime_set($1, 3)", json.RawMessage(record))
	w.deny("TW40V", "not at version 0", "select towpath.runtime_set($1, 0)", json.RawMessage(record))
	w.exec("select towpath.runtime_set($1, 18)", json.RawMessage(record))
	fresh, err := json.Marshal(recorded("fresh"))
	w.ok(err)
	w.deny("TW40V", "not at version 1", "select towpath.runtime_set($1, 1)", json.RawMessage(fresh))
	w.exec("select towpath.runtime_set($1, 0)", json.RawMessage(fresh))
}

func TestWhatIsNoRuntime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record(recorded("r"))
	const whole = `{"id": "a", "client_id": "c", "pid": 1, "status": "running", "cwd": "/", "command": "x", "args": [], "started_at": 1}`
	set := func(change string) string {
		return fmt.Sprintf("select towpath.runtime_set('%s'::jsonb || '%s')", whole, change)
	}
	for _, c := range []struct{ code, says, sql string }{
		{"TW400", "record is missing", "select towpath.runtime_set(null)"},
		{"TW400", "of type array", "select towpath.runtime_set('[]')"},
		{"TW400", "record.client_id is missing", fmt.Sprintf("select towpath.runtime_set('%s'::jsonb - 'client_id')", whole)},
		{"TW400", "record.pid is missing", fmt.Sprintf("select towpath.runtime_set('%s'::jsonb - 'pid')", whole)},
		{"TW400", "record.colour", set(`{"colour": 1}`)},
		{"TW400", "record.id", set(`{"id": ""}`)},
		{"TW400", "record.id", set(`{"id": "a#b"}`)},
		{"TW400", "record.id", set(`{"id": "` + strings.Repeat("x", 1<<20) + `"}`)},
		{"TW400", "record.status", set(`{"status": "stuck"}`)},
		{"TW400", "out of range", set(`{"pid": 0}`)},
		{"TW400", "out of range", set(`{"pid": 99999999999}`)},
		{"TW400", "record.pid", set(`{"pid": "1"}`)},
		{"TW400", "has no pid", set(`{"status": "exited"}`)},
		{"TW400", "record.args", set(`{"args": "x"}`)},
		{"TW400", "record.args[0]", set(`{"args": [1]}`)},
		{"TW400", "record.env", set(`{"env": {"a": 1}}`)},
		{"TW400", "not a time", set(`{"started_at": -1}`)},
		{"TW400", "not a time", set(`{"started_at": 1e300}`)},
		{"TW400", "go together", set(`{"host": "h"}`)},
		{"TW400", "go together", set(`{"host": "h", "incarnation": "x"}`)},
		{"TW400", "command is empty", set(`{"command": ""}`)},
		{"TW413", "1 MiB", set(`{"metadata": {"x": "` + strings.Repeat("x", 1<<20) + `"}}`)},
		{"TW400", "id is missing", "select towpath.runtime_update(null, '{}')"},
		{"TW400", "record is missing", "select towpath.runtime_update('r', null)"},
		{"TW400", "unknown status", "select towpath.runtime_list('live')"},
		{"TW400", "max", "select towpath.runtime_list(null, null, 0)"},
		{"TW400", "place", "select towpath.runtime_list(null, 'x')"},
	} {
		w.deny(c.code, c.says, c.sql)
	}
	if n := get[int](w, "select count(*) from towpath.runtime_record"); n != 1 {
		t.Errorf("%d records", n)
	}
}

// feature: C41
func TestRunningRecordsAreNotPruned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.record(recorded("live"))
	w.record(recorded("ended"))
	_, err := w.store.StopRuntime(t.Context(), "ended")
	w.ok(err)
	w.shift("31 days")
	w.pruned(store.Prune{})
	if ids := get[string](w, "select string_agg(id, ' ') from towpath.runtime_record"); ids != "live" {
		t.Errorf("left: %s", ids)
	}
}
