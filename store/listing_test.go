package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/store"
)

func (w *world) sessions(filter map[string]string, max int) []string {
	w.Helper()
	var ids []string
	after := ""
	for {
		page, err := w.store.ListSessions(w.Context(), filter, after, max)
		w.ok(err)
		for _, s := range page {
			ids = append(ids, s.ID)
		}
		if len(page) < max {
			return ids
		}
		if page[0].Place == after {
			w.Fatalf("a page begins with the last one's end, %s", after)
		}
		after = page[len(page)-1].Place
	}
}

// feature: C25
func TestEveryVisibleChangeOfASessionHasANewNumber(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	last := int64(0)
	// Numbers of all sessions come from one source: a session that is opened later is above what anybody has seen.
	grown := func(what string) {
		t.Helper()
		no := get[int64](w, "select max(change_no) from towpath.sessions")
		if no <= last {
			t.Errorf("%s: number %d after %d", what, no, last)
		}
		last = no
	}
	id := w.submit("s")
	grown("a turn is submitted")
	o, c := w.run(id, node("n"))
	grown("it begins")
	w.accept("s", "message", "{}", "", "{}")
	grown("something is said to it")
	end := completed(o)
	end.Base, end.Keys, end.Values = c.Version, []string{"k"}, [][]byte{[]byte("v")}
	w.ok(w.store.Finish(t.Context(), end))
	grown("it ends")
	w.exec("select towpath.kv_put('s', 'k', '', (select version from towpath.session))")
	grown("its snapshot changes")
	w.exec(`select towpath.session_put('s', 'p', '{"title": "a title"}')`)
	grown("its title changes")
	w.exec("select towpath.session_control('s', 'stop')")
	grown("it is stopped")
	run := ""
	w.exec("select towpath.session_control('s', 'resume')")
	grown("it is resumed")
	run = w.createRun("s", "")
	a := w.command(run, "turn", "{}", "")
	grown("a command is given")
	w.exec("select towpath.cancel_command($1)", a.ID)
	grown("it is cancelled")
	w.session("new")
	grown("another session is opened")
	before := get[int64](w, "select change_no from towpath.sessions where id = 'new'")
	_, err := w.store.Session(t.Context(), "new", "alice")
	w.ok(err)
	w.sessions(nil, 10)
	if now := get[int64](w, "select change_no from towpath.sessions where id = 'new'"); now != before {
		t.Error("reading changed a session")
	}
}

// feature: C25
func TestASessionsNumberNeverGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cursor, err := w.store.ChangesNow(t.Context())
	w.ok(err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}"), Session: fmt.Sprint("s", (i+j)%3)}); err != nil {
					t.Error(err)
				}
				if j == 5 {
					w.session(fmt.Sprint("new", i))
				}
			}
		})
	}
	wg.Wait()
	if n := get[int](w, "select count(*) - count(distinct change_no) from towpath.session"); n != 0 {
		t.Errorf("%d sessions share a number", n)
	}
	// Whoever follows the feed has seen each one, the new ones too.
	w.passed()
	seen := map[string]bool{}
	list, _ := w.follow(cursor, 10)
	for _, c := range list {
		if c.Kind == "session" {
			seen[c.ID] = true
		}
	}
	if len(seen) != 11 {
		t.Errorf("the feed had sessions %v", seen)
	}
}

// feature: C26
func TestReadAndUnread(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	unread := func(reader string) bool {
		w.Helper()
		s, err := w.store.Session(t.Context(), "s", reader)
		w.ok(err)
		return *s.Unread
	}
	id := w.submit("s")
	if !unread("alice") || !unread("bob") {
		t.Error("a new session is read")
	}
	o, _ := w.run(id, node("n"))
	at, err := w.store.MarkRead(t.Context(), "alice", "s")
	w.ok(err)
	if unread("alice") || !unread("bob") {
		t.Error("alice has read it, bob has not")
	}
	end := completed(o)
	end.Status, end.Kind = "failed", "provider"
	w.ok(w.store.Finish(t.Context(), end))
	if !unread("alice") {
		t.Error("a failed turn after alice has read it is read")
	}
	now, err := w.store.MarkRead(t.Context(), "alice", "s")
	w.ok(err)
	if now <= at || unread("alice") {
		t.Errorf("read up to %d, before %d", now, at)
	}
	w.deny("TW409", "stays read", "select towpath.mark_read('alice', 's', $1)", at)
	w.deny("TW409", "never moves back", "update towpath.cursor set position = $1", at)
	w.deny("TW400", "not yet at", "select towpath.mark_read('alice', 's', $1)", now+1_000_000)
	w.deny("TW404", "unknown session", "select towpath.mark_read('alice', 'nobody')")
	w.deny("TW400", "reader", "select towpath.mark_read('', 's')")
	if again, err := w.store.MarkRead(t.Context(), "alice", "s"); again != now || err != nil {
		t.Errorf("again: %d, %v", again, err)
	}
	w.sound()
	if s, err := w.store.Session(t.Context(), "s", ""); s.Unread != nil || err != nil {
		t.Errorf("without a reader: %+v, %v", s.Unread, err)
	}
	if _, err := w.store.Session(t.Context(), "nobody", ""); err == nil {
		t.Error("a session that is none")
	} else {
		w.refused(err, store.ErrNotFound, "unknown session")
	}
	if n := get[int](w, "select towpath.forget_reader('alice')"); n != 1 || !unread("alice") {
		t.Errorf("forgot %d", n)
	}
	// Positions go with their session.
	_, err = w.store.MarkRead(t.Context(), "bob", "s")
	w.ok(err)
	w.exec("delete from towpath.process")
	w.exec("delete from towpath.session")
	if n := get[int](w, "select count(*) from towpath.cursor"); n != 0 {
		t.Errorf("%d positions are left", n)
	}
}

// feature: C27
func TestAnOldRunningSessionIsAlwaysListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.submit("old")
	w.exec(`insert into towpath.session (id, tenant, project, profile, created_at, updated_at)
		select 'idle' || n, 'default', 'default', 'p', now() + n * interval '1 second', now() from generate_series(1, 600) n`)
	if got := w.sessions(nil, 50); !slices.Equal(got, []string{"old"}) {
		t.Errorf("by default: %d sessions", len(got))
	}
	if got := w.sessions(map[string]string{"reader": "alice"}, 50); len(got) != 601 {
		t.Errorf("to a new reader %d sessions are unread", len(got))
	}
	w.exec("insert into towpath.cursor (reader, stream, position, session_id, updated_at) select 'alice', 'session:' || id, change_no, id, now() from towpath.session")
	w.exec(`select towpath.session_put('idle7', 'p', '{"title": "changed"}')`)
	if got := w.sessions(map[string]string{"reader": "alice"}, 1); !slices.Equal(got, []string{"idle7", "old"}) {
		t.Errorf("live or unread: %v", got)
	}
	if got := w.sessions(map[string]string{"reader": "alice", "show": "unread"}, 50); !slices.Equal(got, []string{"idle7"}) {
		t.Errorf("unread: %v", got)
	}
	if got := w.sessions(map[string]string{"show": "all"}, 100); len(got) != 601 {
		t.Errorf("all: %d", len(got))
	}
	// A run alone keeps its session live.
	w.createRun("idle9", "")
	if got := w.sessions(map[string]string{"show": "live"}, 50); !slices.Equal(got, []string{"idle9", "old"}) {
		t.Errorf("live: %v", got)
	}
}

// feature: C27
func TestSessionsByFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 3)
	n := node("n")
	w.exec(`select towpath.session_put('a', 'p', '{"tenant": "acme", "project": "x"}'), towpath.session_put('b', 'p', '{"tenant": "acme", "project": "y"}'),
		towpath.session_put('c', 'q', '{"tenant": "other", "project": "x"}')`)
	w.run(w.submit("running"), n)
	w.exec("select towpath.session_control('c', 'stop')")
	for filter, want := range map[[2]string]string{
		{"tenant", "acme"}: "b a", {"project", "x"}: "c a", {"profile", "q"}: "c", {"state", "stopped"}: "c", {"state", "running"}: "running", {"tenant", "nobody"}: "",
	} {
		if got := strings.Join(w.sessions(map[string]string{"show": "all", filter[0]: filter[1]}, 1), " "); got != want {
			t.Errorf("%s %s: %q, want %q", filter[0], filter[1], got, want)
		}
	}
	for filter, says := range map[string]string{
		`{"colour": "red"}`: "filters are", `{"show": "some"}`: "filters are", `{"show": "unread"}`: "needs a reader", `[]`: "filters are", `{"tenant": 1}`: "filters are",
		`{"state": "asleep"}`: "filters are",
	} {
		w.deny("TW400", says, "select towpath.session_list($1::text::jsonb)", filter)
	}
	w.deny("TW400", "max", "select towpath.session_list(max => 0)")
	w.deny("TW400", "max", "select towpath.session_list(max => 1001)")
	w.deny("TW400", "not a place", "select towpath.session_list(after => 'tomorrow')")
}

// feature: C27
func TestPagesUnderWritesLoseNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 60 {
		id := fmt.Sprintf("s%02d", i)
		w.submit(id)
		want = append(want, id)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for j := 0; ; j++ {
				select {
				case <-stop:
					return
				default:
				}
				w.exec("select towpath.accept_input($1, 'message', '{}')", want[(j*7+i)%len(want)])
				w.session(fmt.Sprintf("new %d.%d", i, j))
			}
		})
	}
	for range 5 {
		got := w.sessions(map[string]string{"show": "all"}, 7)
		old := slices.DeleteFunc(got, func(id string) bool { return strings.HasPrefix(id, "new") })
		slices.Reverse(old)
		if !slices.Equal(old, want) {
			t.Errorf("pages had %v", old)
		}
	}
	close(stop)
	wg.Wait()
}

// feature: C27
func TestALatePageOfSessionsCostsNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into towpath.session (id, tenant, project, profile, created_at, updated_at)
		select 's' || n, 'default', 'default', 'p', now() - n * interval '1 second', now() from generate_series(1, 10000) n`)
	w.exec("analyze towpath.session")
	list := func(after any) int {
		return w.buffers(`select * from towpath.session_list('{"show": "all"}', $1, 50)`, after)
	}
	first := list(nil)
	place := get[string](w, `select place from (select place, row_number() over () n from towpath.session_list('{"show": "all"}', null, 1000)) x order by n desc limit 1`)
	for range 4 {
		place = get[string](w, `select place from (select place, row_number() over () n from towpath.session_list('{"show": "all"}', $1, 1000)) x order by n desc limit 1`, place)
	}
	if late := list(place); late > 2*first {
		t.Errorf("page 1 reads %d buffers, page 100 %d", first, late)
	}
}

// feature: C28
func TestTheTraceOfASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run, other := w.createRun("s", ""), w.createRun("s", "")
	n := node("n")
	a, b, c := w.command(run, "turn", "{}", ""), w.command(other, "turn", "{}", ""), w.command(run, "turn", "{}", "")
	o, _ := w.run(a.Process, n)
	w.say(o, "a1", "a2")
	// A turn that waits has said that it is queued, but what runs comes first.
	page, err := w.store.Trace(t.Context(), "s", "", "", 500, false)
	w.ok(err)
	if last := page.Items[len(page.Items)-1]; last.Process != a.Process || page.More {
		t.Errorf("the page goes beyond the running turn: %+v", last)
	}
	w.exec("select towpath.cancel_command($1)", c.ID)
	w.say(o, "a3")
	w.complete(o)
	o, _ = w.run(b.Process, n)
	w.say(o, "b1")
	w.complete(o)

	trace := func(run string, max int) string {
		w.Helper()
		var said []string
		after := ""
		for {
			page, err := w.store.Trace(t.Context(), "s", run, after, max, false)
			w.ok(err)
			for _, item := range page.Items {
				said = append(said, fmt.Sprint(item.Turn, ".", item.Seq))
			}
			if !page.More {
				return strings.Join(said, " ")
			}
			after = page.Next
		}
	}
	const first, second, third = "1.1 1.2 1.3 1.4 1.5 1.6", "2.1 2.2 2.3 2.4", "3.1 3.2 3.3"
	for _, max := range []int{1, 2, 3, 500} {
		if got := trace("", max); got != first+" "+second+" "+third {
			t.Errorf("pages of %d: %s", max, got)
		}
		if got := trace(run, max); got != first+" "+third {
			t.Errorf("the run's, pages of %d: %s", max, got)
		}
	}
	w.exec("select towpath.create_run('p', 'elsewhere', null, '{\"id\": \"foreign\"}')")
	for run, says := range map[string]string{"foreign": "has no run", "nobody": "has no run", a.Process: "has no run"} {
		_, err := w.store.Trace(t.Context(), "s", run, "", 10, false)
		w.refused(err, store.ErrNotFound, says)
	}
	_, err = w.store.Trace(t.Context(), "nobody", "", "", 10, false)
	w.refused(err, store.ErrNotFound, "unknown session")
	for _, after := range []string{"x", "1", "1.x", "-1.1", "1.1.1"} {
		_, err := w.store.Trace(t.Context(), "s", "", after, 10, false)
		w.refused(err, store.ErrInvalid, "not the cursor")
	}
	for _, max := range []int{0, 501} {
		_, err := w.store.Trace(t.Context(), "s", "", "", max, false)
		w.refused(err, store.ErrInvalid, "max")
	}
}

// feature: C28
func TestOutputGoesOnOverPagesWithoutAny(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o, _ := w.run(w.submit("s"), node("n"))
	var b store.Batch
	b.Owner = o
	for range 25 {
		b.Types, b.Data = append(b.Types, "reasoning.delta"), append(b.Data, `{"text": "hm"}`)
	}
	b.Types, b.Data = append(b.Types, "message"), append(b.Data, `{"text": "42"}`)
	_, err := w.store.Append(t.Context(), []store.Batch{b})
	w.ok(err)
	var texts []string
	after, pages := "", 0
	for more := true; more; pages++ {
		page, err := w.store.Trace(t.Context(), "s", "", after, 10, true)
		w.ok(err)
		if page.Next == after {
			t.Fatalf("page %d does not move on from %s", pages, after)
		}
		for _, item := range page.Items {
			texts = append(texts, item.Type)
		}
		after, more = page.Next, page.More
	}
	if pages != 3 || !slices.Equal(texts, []string{"message"}) {
		t.Errorf("%d pages with %v", pages, texts)
	}
	// Followed to the end: nothing new, the same place.
	if page, err := w.store.Trace(t.Context(), "s", "", after, 10, true); err != nil || page.Next != after || page.More || len(page.Items) != 0 {
		t.Errorf("at the end: %+v, %v", page, err)
	}
	w.complete(o)
	if page, err := w.store.Trace(t.Context(), "s", "", after, 10, true); err != nil || len(page.Items) != 1 || page.Items[0].Type != "process.completed" {
		t.Errorf("after the end: %+v, %v", page, err)
	}
}
