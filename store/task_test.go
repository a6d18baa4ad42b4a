package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/towpath/towpath/store"
)

func (w *world) task(id string, change ...func(*store.NewTask)) string {
	w.Helper()
	t := store.NewTask{Queue: "q", Payload: raw(`{"text": "do it"}`), Options: store.TaskOptions{ID: id}}
	for _, c := range change {
		c(&t)
	}
	id, err := w.store.CreateTask(w.Context(), t)
	w.ok(err)
	return id
}

func (w *world) taskState(id, want string) {
	w.Helper()
	if got := get[string](w, "select concat_ws(': ', state, cancel_reason) from towpath.tasks where id = $1", id); got != want {
		w.Errorf("task %s is %s, want %s", id, got, want)
	}
}

// walk reads all pages of a list of tasks; between is called after each page.
func (w *world) walk(filter map[string]string, page int, between func()) []string {
	w.Helper()
	var ids []string
	place := ""
	for {
		list, err := w.store.ListTasks(w.Context(), filter, place, page)
		w.ok(err)
		for _, t := range list {
			ids = append(ids, t.ID)
		}
		if len(list) < page {
			return ids
		}
		place = list[len(list)-1].Place
		between()
	}
}

// Four callers at once with one key, 80 rounds: one task, and everybody gets it.
//
// feature: C34
func TestOneKeyIsOneTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range 80 {
		n := store.NewTask{Queue: "q", Payload: raw(`{"a": 1, "b": 1.0}`), Key: fmt.Sprintf("k%d", round), Options: store.TaskOptions{Priority: 2}}
		ids := make([]string, 4)
		var wg sync.WaitGroup
		for i := range ids {
			wg.Go(func() {
				var err error
				if ids[i], err = w.store.CreateTask(t.Context(), n); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
		if len(slices.Compact(ids)) != 1 || ids[0] == "" {
			t.Errorf("round %d: %v", round, ids)
		}
	}
	if n := get[int](w, "select count(*) from towpath.task"); n != 80 {
		t.Errorf("%d tasks", n)
	}
	first := store.NewTask{Queue: "q", Payload: raw(`{"b": 1, "a": 1}`), Key: "k0", Options: store.TaskOptions{Priority: 2}}
	if id, err := w.store.CreateTask(t.Context(), first); err != nil || id == "" {
		t.Errorf("the same content otherwise written: %v", err)
	}
	for name, change := range map[string]func(*store.NewTask){
		"payload":  func(n *store.NewTask) { n.Payload = raw(`{"a": 2}`) },
		"queue":    func(n *store.NewTask) { n.Queue = "r" },
		"priority": func(n *store.NewTask) { n.Options.Priority = 3 },
		"profile":  func(n *store.NewTask) { n.Options.Profile = "p" },
		"title":    func(n *store.NewTask) { n.Options.Title = "x" },
		"metadata": func(n *store.NewTask) { n.Options.Metadata = raw(`{"x": 1}`) },
	} {
		n := first
		change(&n)
		_, err := w.store.CreateTask(t.Context(), n)
		w.refused(err, store.ErrIdempotency, "used for another task")
		// Another tenant's or project's key is another one.
		n.Options.Tenant, n.Options.Project = name, name
		if _, err := w.store.CreateTask(t.Context(), n); err != nil {
			t.Errorf("%s of another tenant: %v", name, err)
		}
	}
	w.task("one")
	_, err := w.store.CreateTask(t.Context(), store.NewTask{Queue: "q", Payload: raw(`{}`), Options: store.TaskOptions{ID: "one"}})
	w.refused(err, store.ErrIdempotency, `task "one" exists`)
	w.sound()
}

// Thirty tasks in pages of five, while others come and these change: each is seen once, in its order.
//
// feature: C35
func TestPagesOfTasksShowEachOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for priority := 3; priority > 0; priority-- {
		for i := range 10 {
			want = append(want, fmt.Sprintf("p%d-%02d", priority, i))
		}
	}
	for _, i := range []int{7, 29, 1, 15, 3, 22, 0, 9, 11, 4, 28, 2, 8, 19, 5, 6, 10, 12, 25, 13, 14, 16, 27, 17, 18, 20, 21, 23, 24, 26} {
		priority := int(want[i][1] - '0')
		w.task(want[i], func(n *store.NewTask) { n.Options.Priority = priority })
	}
	// In a priority by age, and at one moment by name.
	w.raw("update towpath.task set created_at = '2026-01-01'")
	n := 0
	got := w.walk(map[string]string{"state": "any"}, 5, func() {
		n++
		w.task(fmt.Sprintf("new-%d", n), func(o *store.NewTask) { o.Options.Priority = 2 })
		w.ok(w.store.AttemptTask(t.Context(), want[29-n], "running", raw(`{"id": "a"}`), ""))
		_, err := w.store.CancelTask(t.Context(), want[5*n-1], "no")
		w.ok(err)
	})
	if got = slices.DeleteFunc(got, func(id string) bool { return strings.HasPrefix(id, "new") }); !slices.Equal(got, want) {
		t.Errorf("seen %v, want %v", got, want)
	}
	live := w.walk(nil, 7, func() {})
	if len(live) != 30 || slices.Contains(live, want[4]) { // as many cancelled as new
		t.Errorf("live: %d, %v", len(live), live)
	}
	w.sound()
}

// feature: C35
func TestTasksByFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	opt := func(queue, lane, tenant, project, profile string) func(*store.NewTask) {
		return func(n *store.NewTask) {
			n.Queue, n.Options.Lane, n.Options.Tenant, n.Options.Project, n.Options.Profile = queue, lane, tenant, project, profile
		}
	}
	w.task("a", opt("q", "fast", "t", "j", "p"))
	w.task("b", opt("r", "", "t", "", ""))
	w.task("c", opt("q", "", "", "", ""), func(n *store.NewTask) { n.Options.Priority = -1 })
	w.task("d", opt("r", "fast", "", "j", "p"))
	w.ok(w.store.AttemptTask(t.Context(), "d", "running", raw(`{"id": "1"}`), "s"))
	w.task("e", opt("q", "", "", "", ""))
	w.ok(w.store.AttemptTask(t.Context(), "e", "failed", raw(`{"id": "1"}`), ""))
	type filter = map[string]string
	for _, c := range []struct {
		filter filter
		want   string
	}{
		{nil, "a b d c"}, {filter{"state": "any"}, "a b d e c"}, {filter{"state": "ended"}, "e"}, {filter{"state": "failed"}, "e"},
		{filter{"state": "pending"}, "a b c"}, {filter{"state": "running"}, "d"}, {filter{"queue": "q"}, "a c"}, {filter{"lane": "fast"}, "a d"},
		{filter{"tenant": "t"}, "a b"}, {filter{"project": "j"}, "a d"}, {filter{"profile": "p"}, "a d"}, {filter{"tenant": "t", "project": "j"}, "a"},
		{filter{"queue": "' or true --"}, ""},
	} {
		if got := strings.Join(w.walk(c.filter, 100, func() {}), " "); got != c.want {
			t.Errorf("%v: %q, want %q", c.filter, got, c.want)
		}
	}
	task, err := w.store.Task(t.Context(), "d")
	w.ok(err)
	if task.State != "running" || *task.AttemptID != "1" || *task.SessionPath != "s" || string(task.Payload) != `{"text": "do it"}` || task.Lane != "fast" {
		t.Errorf("%+v", task)
	}
	w.sound()
}

// What a page costs does not depend on how far out it is.
//
// feature: C35
func TestAPageOfTasksFarOutCostsWhatTheFirstOneDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into towpath.task (id, tenant, project, queue, payload, request_digest, priority, created_at, updated_at)
		select 't' || i, 't' || i % 2, 'j', 'q' || i % 2, '{}', '', i % 5, now() - i * interval '1 second', now() from generate_series(1, 12000) i`)
	w.exec("analyze towpath.task")
	for _, filter := range []string{`{}`, `{"state": "any"}`, `{"queue": "q1"}`, `{"tenant": "t1", "project": "j"}`} {
		place := ""
		var first, last int
		for n := range 100 {
			list := fmt.Sprintf("select * from towpath.task_list('%s', nullif('%s', ''), 40)", filter, place)
			last = w.buffers(list)
			if n == 0 {
				first = last
			}
			place = get[string](w, "select (array_agg(place order by n desc))[1] from (select l.place, row_number() over () as n from ("+list+") l) x")
		}
		if last > 2*first {
			t.Errorf("filter %s: page 100 reads %d buffers, page 1 reads %d", filter, last, first)
		}
	}
	w.sound()
}

// feature: C35
func TestAFollowerMissesNoChangeOfATask(t *testing.T) {
	t.Parallel()
	const writers, each = 16, 10
	w := newWorld(t)
	config := w.pool.Config()
	config.MaxConns = writers + 2
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	w.ok(err)
	t.Cleanup(pool.Close)
	db := store.New(pool)
	cursor, err := w.store.ChangesNow(t.Context())
	w.ok(err)
	start := cursor
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				id := fmt.Sprintf("%d-%d", i, j)
				_, err := db.CreateTask(t.Context(), store.NewTask{Queue: fmt.Sprintf("q%d", i%2), Payload: raw("{}"), Options: store.TaskOptions{ID: id}})
				if err == nil {
					_, err = db.CancelTask(t.Context(), id, "x")
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	ends := map[string]int{}
	read := func() int {
		list, err := w.store.TaskChanges(t.Context(), cursor, 7, "")
		if err != nil {
			t.Error(err)
			return 0
		}
		for _, c := range list {
			if c.Place == cursor {
				t.Errorf("%s came twice", cursor)
				return 0
			}
			cursor = c.Place
			if c.Final() {
				ends[c.ID]++
			}
		}
		return len(list)
	}
	for busy := true; busy; {
		select {
		case <-done:
			busy = false
		default:
		}
		read()
	}
	w.passed()
	for read() > 0 {
	}
	if len(ends) != writers*each {
		t.Errorf("%d of %d ends were seen", len(ends), writers*each)
	}
	for id, n := range ends {
		if n != 1 {
			t.Errorf("the end of %s was seen %d times", id, n)
		}
	}
	if list, err := w.store.TaskChanges(t.Context(), start, 1000, "q1"); err != nil || len(list) != writers*each/2 {
		t.Errorf("one queue: %d, %v", len(list), err)
	}
	// What is not committed yet holds back what is committed already and has a higher number.
	tx := w.begin()
	_, err = tx.Exec(t.Context(), `select towpath.task_create('q', '{}', null, '{"id": "first"}')`)
	w.ok(err)
	w.task("second")
	changed := func(want string) {
		t.Helper()
		list, err := w.store.TaskChanges(t.Context(), cursor, 10, "")
		w.ok(err)
		got := ""
		for _, c := range list {
			cursor, got = c.Place, got+c.ID+" "+c.State+" "
		}
		if got != want {
			t.Errorf("changed: %q, want %q", got, want)
		}
	}
	changed("")
	w.ok(tx.Commit(t.Context()))
	w.passed()
	changed("first pending second pending ")
	_, err = w.store.CancelTask(t.Context(), "first", "x")
	w.ok(err)
	w.passed()
	changed("first cancelled ")
	_, err = w.store.RestartFeed(t.Context())
	w.ok(err)
	_, err = w.store.TaskChanges(t.Context(), cursor, 10, "")
	w.refused(err, store.ErrResync, "begun anew")
	w.sound()
}

// feature: C36
func TestAttemptsAtATask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("a")
	attempt := func(state, detail, session string) error {
		return w.store.AttemptTask(t.Context(), "a", state, raw(detail), session)
	}
	w.ok(attempt("claimed", `{"id": "one", "node": "n", "password": "very-private"}`, "session-1"))
	w.ok(attempt("running", `{"id": "one"}`, ""))
	w.ok(attempt("waiting", `{"id": "two", "note": "the second"}`, "session-2"))
	w.refused(attempt("completed", `{"id": "one"}`, ""), store.ErrConflict, "has a newer attempt")
	task, err := w.store.Task(t.Context(), "a")
	w.ok(err)
	if task.Attempts != 2 || task.State != "waiting" || *task.SessionPath != "session-2" || string(task.LatestAttempt) != `{"id": "two", "note": "the second"}` {
		t.Errorf("%+v", task)
	}
	if got := get[string](w, "select string_agg(n || ' ' || id || ' ' || state, ', ' order by n) from towpath.task_attempt"); got != "1 one running, 2 two waiting" {
		t.Errorf("attempts %s", got)
	}
	w.ok(attempt("completed", `{"id": "two"}`, ""))
	w.refused(attempt("completed", `{"id": "two"}`, ""), store.ErrConflict, "is completed already")
	if state, err := w.store.CancelTask(t.Context(), "a", "too late"); err != nil || state != "completed" {
		t.Errorf("cancelled after its end: %s, %v", state, err)
	}
	w.task("b")
	for _, reason := range []string{"first, sk-0123456789abcdefghij", "second"} {
		if state, err := w.store.CancelTask(t.Context(), "b", reason); err != nil || state != "cancelled" {
			t.Errorf("cancel: %s, %v", state, err)
		}
	}
	w.taskState("b", "cancelled: first, [redacted]")
	if _, err := w.pool.Exec(t.Context(), "update towpath.task set state = 'pending', finalized_at = null, cancel_reason = null where id = 'b'"); code(err) != "TW409" {
		t.Errorf("brought back: %v", err)
	}
	w.sound()
}

// feature: C26 C36
func TestReadersOfTasks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("a")
	w.task("b")
	unread := func(reader string) string {
		list, err := w.store.ListTasks(t.Context(), map[string]string{"reader": reader, "state": "any"}, "", 10)
		w.ok(err)
		var ids []string
		for _, t := range list {
			if *t.Unread {
				ids = append(ids, t.ID)
			}
		}
		return strings.Join(ids, " ")
	}
	first, err := w.store.ReadTask(t.Context(), "alice", "a", nil)
	w.ok(err)
	if got := unread("alice") + "|" + unread("bob"); got != "b|a b" {
		t.Errorf("unread %s", got)
	}
	_, err = w.store.CancelTask(t.Context(), "a", "x")
	w.ok(err)
	if got := unread("alice"); got != "a b" {
		t.Errorf("after its end unread: %s", got)
	}
	second, err := w.store.ReadTask(t.Context(), "alice", "a", nil)
	w.ok(err)
	if second <= first {
		t.Errorf("change %d after %d", second, first)
	}
	_, err = w.store.ReadTask(t.Context(), "alice", "a", &first)
	w.refused(err, store.ErrConflict, "what has been read stays read")
	far := second + 1000
	_, err = w.store.ReadTask(t.Context(), "alice", "a", &far)
	w.refused(err, store.ErrInvalid, "is at change")
	w.passed()
	if n, err := w.store.TaskChanges(t.Context(), "", 10, ""); err != nil || len(n) != 2 {
		t.Errorf("reading is no change: %v, %v", n, err)
	}
	w.sound()
}

// feature: C36
func TestADispatchedTaskIsARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	named := func(n *store.NewTask) { n.Options.Profile, n.Options.Tenant = "p", "acme" }
	ran := func(id, status string) {
		t.Helper()
		run, err := w.store.DispatchTask(t.Context(), id, "")
		w.ok(err)
		if again, err := w.store.DispatchTask(t.Context(), id, ""); err != nil || again != run {
			t.Errorf("dispatched again: %s, %v", again, err)
		}
		w.taskState(id, "running")
		turn := get[string](w, "select id from towpath.process where parent_id = $1", run)
		o, c := w.run(turn, node("n"))
		if string(c.Input) != `{"text": "do it"}` {
			t.Errorf("the turn is to do %s", c.Input)
		}
		if state, err := w.store.RefreshTask(t.Context(), id); err != nil || state != "running" {
			t.Errorf("refreshed while it runs: %s, %v", state, err)
		}
		end := completed(o)
		if end.Status = status; status == "failed" {
			end.Kind = "provider"
		}
		w.ok(w.store.Finish(t.Context(), end))
		if state, err := w.store.RefreshTask(t.Context(), id); err != nil || state != status {
			t.Errorf("refreshed: %s, %v", state, err)
		}
		w.status(run, status)
		if tenant := get[string](w, "select tenant from towpath.process where id = $1", run); tenant != "acme" {
			t.Errorf("run of tenant %s", tenant)
		}
		_, err = w.store.DispatchTask(t.Context(), id, "")
		w.refused(err, store.ErrConflict, "already")
	}
	for _, status := range []string{"completed", "failed", "cancelled"} {
		w.task(status, named)
		ran(status, status)
	}
	// Cancelling the task cancels the run.
	w.task("stopped", named)
	run, err := w.store.DispatchTask(t.Context(), "stopped", "s")
	w.ok(err)
	_, err = w.store.CancelTask(t.Context(), "stopped", "no more")
	w.ok(err)
	w.status(run, "cancelled")
	w.taskState("stopped", "cancelled: no more")
	// One that names no profile is for others.
	w.task("by hand")
	_, err = w.store.DispatchTask(t.Context(), "by hand", "")
	w.refused(err, store.ErrConflict, "names no profile")
	if state, err := w.store.RefreshTask(t.Context(), "by hand"); err != nil || state != "pending" {
		t.Errorf("%s, %v", state, err)
	}
	w.sound()
}

// feature: C37
func TestTheCommandersView(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 30 {
		w.task(fmt.Sprintf("t%02d", i), func(n *store.NewTask) {
			n.Queue, n.Options.Priority = fmt.Sprintf("q%d", i%2), i/10
			if i%3 == 0 {
				n.Options.Lane = "fast"
			}
		})
	}
	w.ok(w.store.AttemptTask(t.Context(), "t20", "running", raw(`{"id": "1"}`), ""))
	_, err := w.store.CancelTask(t.Context(), "t21", "x")
	w.ok(err)
	c, err := w.store.Commander(t.Context(), nil, 20)
	w.ok(err)
	want := store.TaskStats{Total: 30, Live: 29, States: map[string]int64{"pending": 28, "running": 1, "cancelled": 1}, Queues: map[string]int64{"q0": 15, "q1": 15}, Lanes: map[string]int64{"fast": 10, "default": 20}}
	if fmt.Sprint(c.Stats) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", c.Stats, want)
	}
	if len(c.Items) != 20 || c.Items[0].ID != "t20" || c.Items[1].ID != "t22" || c.Items[9].ID != "t10" || c.GeneratedAt.IsZero() {
		t.Errorf("%d items, %+v", len(c.Items), c.Items[:2])
	}
	one, err := w.store.Commander(t.Context(), map[string]string{"queue": "q1", "lane": "fast"}, 3)
	w.ok(err)
	if one.Stats.Total != 5 || len(one.Items) != 3 || one.Items[0].ID != "t27" {
		t.Errorf("one lane: %+v", one)
	}
	if empty, err := w.store.Commander(t.Context(), map[string]string{"tenant": "none"}, 3); err != nil || empty.Stats.Total != 0 || len(empty.Items) != 0 {
		t.Errorf("nobody's: %+v, %v", empty, err)
	}
	w.sound()
}

// Whatever no task can be is refused, and says why.
func TestWhatIsNoTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("a")
	big := strings.Repeat("x", 1<<20)
	for _, c := range []struct{ code, says, sql string }{
		{"TW400", "queue or lane", "select towpath.task_create(null, '{}')"},
		{"TW400", "queue or lane", "select towpath.task_create('a b', '{}')"},
		{"TW400", "queue or lane", `select towpath.task_create('q', '{}', null, '{"lane": ""}')`},
		{"TW400", "not a JSON object", "select towpath.task_create('q', null)"},
		{"TW400", "not a JSON object", "select towpath.task_create('q', '[]')"},
		{"TW413", "1048576", "select towpath.task_create('q', jsonb_build_object('x', '" + big + "'))"},
		{"TW413", "256 KiB", "select towpath.task_create('q', '{}', null, jsonb_build_object('spec', jsonb_build_object('x', '" + big + "')))"},
		{"TW400", "idempotency_key", "select towpath.task_create('q', '{}', '')"},
		{"TW400", "options.colour", `select towpath.task_create('q', '{}', null, '{"colour": 1}')`},
		{"TW400", "options is missing", "select towpath.task_create('q', '{}', null, null)"},
		{"TW400", "options.id", `select towpath.task_create('q', '{}', null, '{"id": "a#b"}')`},
		{"TW400", "options.tenant", `select towpath.task_create('q', '{}', null, '{"tenant": ""}')`},
		{"TW400", "priority", `select towpath.task_create('q', '{}', null, '{"priority": 1000001}')`},
		{"TW400", "options.priority", `select towpath.task_create('q', '{}', null, '{"priority": "1"}')`},
		{"TW400", "options.references", `select towpath.task_create('q', '{}', null, '{"references": {}}')`},
		{"TW404", "unknown task", "select towpath.task('none')"},
		{"TW404", "unknown task", "select towpath.task(null)"},
		{"TW400", "unknown state", "select towpath.task_attempt('a', 'pending', '{\"id\": \"1\"}')"},
		{"TW400", "unknown state", "select towpath.task_attempt('a', null, '{\"id\": \"1\"}')"},
		{"TW400", "attempt.id", "select towpath.task_attempt('a', 'running', '{}')"},
		{"TW400", "attempt.id", "select towpath.task_attempt('a', 'running', '{\"id\": 1}')"},
		{"TW400", "not a JSON object", "select towpath.task_attempt('a', 'running', null)"},
		{"TW404", "unknown task", "select towpath.task_attempt('none', 'running', '{\"id\": \"1\"}')"},
		{"TW400", "reason", "select towpath.task_cancel('a', '')"},
		{"TW404", "unknown task", "select towpath.task_cancel('none')"},
		{"TW404", "unknown task", "select towpath.task_dispatch('none')"},
		{"TW404", "unknown task", "select towpath.task_refresh(null)"},
		{"TW400", "reader", "select towpath.task_read('', 'a')"},
		{"TW404", "unknown task", "select towpath.task_read('me', 'none')"},
		{"TW400", "filter.colour", `select towpath.task_list('{"colour": "red"}')`},
		{"TW400", "filter.state", `select towpath.task_list('{"state": "stuck"}')`},
		{"TW400", "place", "select towpath.task_list('{}', 'x')"},
		{"TW400", "place", "select towpath.task_list('{}', '1 2026-01-01T00:00:00.000000Z')"},
		{"TW400", "max", "select towpath.task_list('{}', null, 1001)"},
		{"TW400", "cursor", "select towpath.task_changes('x')"},
		{"TW400", "max", "select towpath.task_changes(null, -1)"},
		{"TW400", "counted by", `select towpath.task_stats('{"state": "pending"}')`},
		{"TW400", "max", "select towpath.task_commander('{}', 0)"},
	} {
		w.deny(c.code, c.says, c.sql)
	}
	for _, column := range []string{"priority = 9", "payload = '{}'", "tenant = 'x'", "queue = 'x'"} {
		if _, err := w.pool.Exec(t.Context(), "update towpath.task set "+column); code(err) != "TW409" {
			t.Errorf("%s: %v", column, err)
		}
	}
	w.taskState("a", "pending")
	w.sound()
}

// Many hands in few queues: nobody sees a deadlock or a broken key, and the counts are right.
//
// feature: C22
func TestTasksByManyHands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				id := fmt.Sprintf("t%d", (i*7+j)%20)
				_, err := w.store.CreateTask(t.Context(), store.NewTask{Queue: fmt.Sprintf("q%d", j%20%3), Payload: raw("{}"), Options: store.TaskOptions{ID: id, Profile: "p"}})
				for _, call := range []func() error{
					func() error { return err },
					func() error { _, err := w.store.DispatchTask(t.Context(), id, "s"); return err },
					func() error { _, err := w.store.RefreshTask(t.Context(), id); return err },
					func() error { _, err := w.store.ReadTask(t.Context(), "me", id, nil); return err },
					func() error {
						if j%5 == i%5 {
							_, err := w.store.CancelTask(t.Context(), id, "x")
							return err
						}
						return nil
					},
				} {
					if err := call(); err != nil && !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrIdempotency) && !errors.Is(err, store.ErrNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	w.sound()
	// Past retention they go, and their counts with them.
	w.exec("select towpath.task_cancel(id) from towpath.tasks")
	w.exec("select towpath.cancel(id) from towpath.processes where finalized_at is null")
	w.shift("500 days")
	w.pruned(store.Prune{})
	if n := get[int](w, "select (select count(*) from towpath.task) + (select count(*) from towpath.task_count) + (select count(*) from towpath.cursor where task_no is not null)"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// feature: C41
func TestLiveTasksAreNotPruned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.task("live")
	w.task("ended")
	_, err := w.store.CancelTask(t.Context(), "ended", "x")
	w.ok(err)
	w.shift("29 days")
	w.pruned(store.Prune{})
	if n := get[int](w, "select count(*) from towpath.task"); n != 2 {
		t.Errorf("%d tasks after 29 days", n)
	}
	w.shift("2 days")
	w.pruned(store.Prune{DryRun: true})
	w.pruned(store.Prune{})
	if ids := get[string](w, "select string_agg(id, ' ') from towpath.task"); ids != "live" {
		t.Errorf("left: %s", ids)
	}
	w.sound()
}
