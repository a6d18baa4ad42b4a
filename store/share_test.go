package store_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// named starts an operation by name.
func (w *world) named(id string, change ...func(*store.StartOptions)) string {
	w.Helper()
	p := operation()
	p.Options.ID = id
	for _, c := range change {
		c(&p.Options)
	}
	return w.launch(p)
}

// with shares a start with scopes.
func with(scopes ...string) func(*store.StartOptions) {
	return func(o *store.StartOptions) { o.Share = scopes }
}

func (w *world) shared(scope string) []string {
	w.Helper()
	return sorted(w.listed(map[string]any{"shared_with": scope, "status": "any"}))
}

func (w *world) shares(scope string, want ...string) {
	w.Helper()
	if got := w.shared(scope); !slices.Equal(got, want) {
		w.Errorf("shared with %s: %v, want %v", scope, got, want)
	}
}

// feature: D45 D47 D49
func TestSharesAreRightsAndOriginIsHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range []string{"s", "r"} {
		w.session(s)
	}
	origin := func(o *store.StartOptions) { o.Originator = &store.Originator{Session: "s", Frame: "f"} }
	w.named("nobodys", origin)
	w.named("everybodys", origin, with("session:s", "session:r", "session:r/frame:f", "host:h"))
	for _, scope := range []string{"session:s", "session:r", "session:r/frame:f", "host:h"} {
		w.shares(scope, "everybodys")
	}
	w.shares("session:s/frame:f")
	// Rights come and go, and each is on record; history stays.
	for _, want := range []bool{true, false} {
		fresh, err := w.store.Share(t.Context(), "session:r", "nobodys", raw(fmt.Sprintf(`{"first": %v}`, want)))
		w.ok(err)
		if fresh != want {
			t.Errorf("shared anew: %v, want %v", fresh, want)
		}
	}
	if d := get[string](w, "select descriptor::text from towpath.share s join towpath.process p on p.no = s.process_no where p.id = 'nobodys'"); d != `{"first": false}` {
		t.Errorf("descriptor %s", d)
	}
	w.shares("session:r", "everybodys", "nobodys")
	for _, want := range []bool{true, false} {
		gone, err := w.store.Unshare(t.Context(), "session:r", "nobodys")
		w.ok(err)
		if gone != want {
			t.Errorf("taken back: %v, want %v", gone, want)
		}
	}
	w.shares("session:r", "everybodys")
	w.log("nobodys", "process.queued", "process.shared", "process.unshared")
	for session, want := range map[string][]string{"s": {"everybodys", "nobodys"}, "r": nil} {
		if got := sorted(w.listed(map[string]any{"originated_by": map[string]any{"session": session}})); !slices.Equal(got, want) {
			t.Errorf("originated by %s: %v", session, got)
		}
	}
	// What has ended may still be handed on; nothing comes after its end.
	_, err := w.store.Cancel(t.Context(), "nobodys", "enough", 0)
	w.ok(err)
	before := w.types("nobodys")
	_, err = w.store.Share(t.Context(), "session:s", "nobodys", nil)
	w.ok(err)
	w.shares("session:s", "everybodys", "nobodys")
	w.log("nobodys", before...)
	w.sound()
}

// feature: D47 D48
func TestATransferMovesAllOrNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.session("r")
	origin := func(o *store.StartOptions) { o.Originator = &store.Originator{Session: "s"} }
	for _, id := range []string{"a", "b", "c"} {
		w.named(id, origin, with("session:s"))
	}
	w.named("foreign")
	_, err := w.store.Share(t.Context(), "session:s", "a", raw(`{"label": "mine"}`))
	w.ok(err)
	before := get[string](w, "select jsonb_agg(s order by s)::text from towpath.share s")
	for _, ids := range [][]string{{"a", "foreign", "b"}, {"a", "none"}} {
		err := w.store.Transfer(t.Context(), "session:s", "session:r", ids)
		w.refused(err, store.ErrDenied, `is not shared with "session:s"`)
	}
	w.refused(w.store.Transfer(t.Context(), "session:s", "session:nobody", []string{"a"}), store.ErrNotFound, "is of no session")
	if after := get[string](w, "select jsonb_agg(s order by s)::text from towpath.share s"); after != before {
		t.Errorf("a refused transfer moved something: %s", after)
	}
	w.log("a", "process.queued")
	w.ok(w.store.Transfer(t.Context(), "session:s", "session:r", []string{"a", "b", "a"}))
	w.shares("session:s", "c")
	w.shares("session:r", "a", "b")
	if row := get[string](w, `select format('%s %s %s', s.descriptor, s.from_scope, p.originator) from towpath.share s
		join towpath.process p on p.no = s.process_no where p.id = 'a'`); row != `{"label": "mine"} session:s session:s` {
		t.Errorf("moved as %s", row)
	}
	w.log("a", "process.queued", "process.transferred")
	if data := get[string](w, "select data::text from towpath.events('a', 1)"); data != `{"to": "session:r", "from": "session:s"}` {
		t.Errorf("on record: %s", data)
	}
	if got := sorted(w.listed(map[string]any{"originated_by": map[string]any{"session": "s"}})); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("originated by s: %v", got)
	}
	w.sound()
}

// feature: D41
func TestCancellingWhatNobodyElseShares(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.session("r")
	w.named("sole", with("session:s"))
	w.named("both", with("session:s", "session:r"))
	w.named("framed", with("session:s", "session:s/frame:f"))
	w.named("runs", with("session:s"))
	w.named("other", with("session:r"))
	w.named("spared", with("session:s"))
	w.claimed("runs", node("n"))
	list, err := w.store.CancelUnshared(t.Context(), "session:s", "enough", time.Minute, []string{"sole", "both", "framed", "runs", "other", "none"})
	w.ok(err)
	var got []string
	for _, u := range list {
		line := u.ID
		if u.Error != nil {
			line += " error: " + *u.Error
		} else {
			line += fmt.Sprintf(" %s %d", *u.Status, *u.Shares)
		}
		got = append(got, line)
	}
	want := []string{"sole cancelled 0", "both queued 1", "framed queued 1", "runs running 0", `other error: not shared with "session:s"`, "none error: unknown process"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	w.shares("session:s", "spared")
	w.log("sole", "process.queued", "process.unshared", "process.cancel_requested", "process.cancelled")
	w.log("runs", "process.queued", "process.started", "process.unshared", "process.cancel_requested")
	w.log("both", "process.queued", "process.unshared")
	// All that is left, more than one batch of it.
	for range 230 {
		p := operation()
		p.Options.Share = []string{"session:s"}
		w.launch(p)
	}
	list, err = w.store.CancelUnshared(t.Context(), "session:s", "enough", 0, nil)
	w.ok(err)
	if len(list) != 231 || len(w.shared("session:s")) != 0 {
		t.Errorf("%d taken back, left %v", len(list), w.shared("session:s"))
	}
	if live := get[int](w, "select count(*) from towpath.process where finalized_at is null"); live != 4 { // both, framed, runs, other
		t.Errorf("%d live", live)
	}
	w.sound()
}

// feature: D50
func TestDeletingASessionSparesItsProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.session("r")
	w.named("sole", with("session:s"), func(o *store.StartOptions) { o.Wake = "s" })
	w.named("framed", with("session:s/frame:f"))
	w.named("both", with("session:s", "session:s/frame:f", "session:r"))
	w.named("ended", with("session:s"))
	_, err := w.store.Cancel(t.Context(), "ended", "x", 0)
	w.ok(err)
	d, err := w.store.DeleteSession(t.Context(), "s")
	w.ok(err)
	if !d.Gone || d.Revoked != 5 || !slices.Equal(d.Orphaned, []string{"sole", "framed"}) || !slices.Equal(d.Preserved, []string{"both"}) {
		t.Errorf("%+v", d)
	}
	for _, id := range []string{"sole", "framed", "both"} {
		w.status(id, "queued")
	}
	w.shares("session:r", "both")
	if n := get[int](w, "select count(*) from towpath.wake_target"); n != 0 {
		t.Error("it would still be woken")
	}
	_, err = w.store.DeleteSession(t.Context(), "s")
	w.refused(err, store.ErrNotFound, `unknown session "s"`)
	_, err = w.store.Share(t.Context(), "session:s", "sole", nil)
	w.refused(err, store.ErrNotFound, "is of no session")

	// With turns it stays for their sake, takes nothing new, and what is queued is done.
	turn := w.submit("r")
	d, err = w.store.DeleteSession(t.Context(), "r")
	w.ok(err)
	if d.Gone || d.Revoked != 1 || !slices.Equal(d.Orphaned, []string{"both"}) {
		t.Errorf("%+v", d)
	}
	w.status(turn, "queued")
	_, err = w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: raw("{}"), Session: "r"})
	w.refused(err, store.ErrConflict, "is retired and accepts no turn")
	_, err = w.store.Share(t.Context(), "session:r", "both", nil)
	w.refused(err, store.ErrConflict, "is given nothing")
	o, _ := w.run(turn, node("n"))
	w.complete(o)
	d, err = w.store.DeleteSession(t.Context(), "r")
	w.ok(err)
	if d.Gone || d.Revoked != 0 || d.Orphaned == nil || d.Preserved == nil {
		t.Errorf("again: %+v", d)
	}
	w.sound()
}

// feature: D52
func TestTheWorkOfASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	speak := func(o *store.StartOptions) { o.EventTypes = speaking("{}").Options.EventTypes }
	w.named("first", speak, with("session:s"))
	w.named("second", with("session:s"))
	w.named("wakes", func(o *store.StartOptions) { o.Wake = "s" })
	w.named("shared-and-wakes", with("session:s"), func(o *store.StartOptions) { o.Wake = "s" })
	w.named("framed", with("session:s/frame:f"))
	w.named("foreign")
	for i := range 40 {
		_, err := w.store.AppendEvent(t.Context(), "first", "line", raw(fmt.Sprintf(`{"n": %d}`, i)), "")
		w.ok(err)
	}
	// One moment for two of them: then by birth, then by name.
	w.raw("update towpath.process set updated_at = '2026-01-02', created_at = '2026-01-01' where id in ('wakes', 'shared-and-wakes', 'second')")
	w.raw("update towpath.process set updated_at = '2026-01-03', created_at = '2026-01-01' where id = 'first'")
	w.raw("update towpath.process set created_at = '2026-01-02' where id = 'wakes'")
	work, err := w.store.SessionWork(t.Context(), "s", 32, 100)
	w.ok(err)
	var got []string
	for _, p := range work {
		got = append(got, fmt.Sprintf("%s shared %v wakes %v, %d events", p.ID, p.Shared, p.Wakes, len(p.Recent)))
	}
	want := []string{"first shared true wakes false, 32 events", "wakes shared false wakes true, 1 events",
		"second shared true wakes false, 1 events", "shared-and-wakes shared true wakes true, 1 events"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if r := work[0].Recent; r[0].Seq != 10 || r[31].Seq != 41 || string(r[31].Data) != `{"n": 39}` {
		t.Errorf("events %d to %d", r[0].Seq, r[31].Seq)
	}
	if page, err := w.store.SessionWork(t.Context(), "s", 0, 2); err != nil || len(page) != 2 || page[1].ID != "wakes" || len(page[0].Recent) != 0 {
		t.Errorf("two of them: %+v, %v", page, err)
	}
	// An observer of everything sees also what is nobody's.
	_, err = w.store.DeleteSession(t.Context(), "s")
	w.ok(err)
	all, err := w.store.ListWork(t.Context(), map[string]any{"status": "any"}, "", 100, 2)
	w.ok(err)
	if len(all) != 6 || len(all[slices.IndexFunc(all, func(p store.ListedWork) bool { return p.ID == "first" })].Recent) != 2 {
		t.Errorf("everything: %+v", all)
	}
	if rest, err := w.store.ListWork(t.Context(), map[string]any{"status": "any"}, all[3].Place, 100, 2); err != nil || len(rest) != 2 {
		t.Errorf("after the fourth: %+v, %v", rest, err)
	}
	w.sound()
}

// feature: D52
func TestWorkIsReadInOneGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	fill := func(from, to, events int) {
		w.exec(`insert into towpath.process (id, class, disposition, tenant, project, request_digest, status, max_attempts, last_seq, created_at, updated_at)
			select 'p' || i, 'external', 'externally_owned', 't', 'j', '', 'running', 1, $3, towpath.now(), towpath.now() from generate_series($1::int, $2) i`, from, to, events)
		w.exec("insert into towpath.event select p.no, i, 'x', '{}', null, null, now() from towpath.process p, generate_series(1, p.last_seq) i on conflict do nothing")
		w.exec("analyze")
	}
	fill(1, 20, 50)
	w.exec("insert into towpath.share (scope, session_id, process_no, at) select 'session:s', 's', no, now() from towpath.process")
	few := w.buffers("select * from towpath.session_work('s')")
	fill(21, 12000, 0)

	many := w.buffers("select * from towpath.session_work('s')")
	if few > 600 || many > 2*few {
		t.Errorf("20 processes with 32 events each read %d buffers, among 12000 others %d", few, many)
	}
}

// Whatever cannot be shared is refused, and says why.
func TestWhatCannotBeShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.named("a", with("session:s"))
	big := strings.Repeat("x", 1<<20)
	for _, c := range []struct{ code, says, sql string }{
		{"TW400", "not a scope", "select towpath.share(null, 'a')"},
		{"TW400", "not a scope", "select towpath.share('me', 'a')"},
		{"TW400", "not a scope", "select towpath.share('session:" + big + "', 'a')"},
		{"TW404", "of no session", "select towpath.share('session:nobody', 'a')"},
		{"TW404", "of no session", "select towpath.share('session:nobody/frame:f', 'a')"},
		{"TW404", "unknown process", "select towpath.share('session:s', null)"},
		{"TW404", "unknown process", "select towpath.share('session:s', 'none')"},
		{"TW400", "not a JSON object", "select towpath.share('session:s', 'a', '[]')"},
		{"TW400", "not a JSON object", "select towpath.share('session:s', 'a', null)"},
		{"TW413", "64 KiB", "select towpath.share('session:s', 'a', jsonb_build_object('x', '" + big + "'))"},
		{"TW404", "unknown process", "select towpath.unshare('session:s', 'none')"},
		{"TW400", "not a scope", "select towpath.transfer('session:s', 'x', '{a}')"},
		{"TW400", "one scope", "select towpath.transfer('session:s', 'session:s', '{a}')"},
		{"TW400", "1 to 1000 ids", "select towpath.transfer('session:s', 'host', '{}')"},
		{"TW400", "1 to 1000 ids", "select towpath.transfer('session:s', 'host', null)"},
		{"TW400", "1 to 1000 ids", "select towpath.transfer('session:s', 'host', '{a,null}')"},
		{"TW403", "not shared", "select towpath.transfer('session:s/frame:f', 'host', '{a}')"},
		{"TW400", "not a scope", "select * from towpath.cancel_unshared('everything')"},
		{"TW400", "max", "select * from towpath.cancel_unshared('session:s', max => 0)"},
		{"TW404", "unknown session", "select * from towpath.session_delete('none')"},
		{"TW404", "unknown session", "select * from towpath.session_delete(null)"},
		{"TW404", "unknown session", "select * from towpath.session_work('none')"},
		{"TW400", "events", "select * from towpath.session_work('s', 501)"},
		{"TW400", "max", "select * from towpath.session_work('s', 1, 0)"},
		{"TW400", "events", "select * from towpath.work(events => null)"},
		{"TW400", "filter.colour", `select * from towpath.work('{"colour": 1}')`},
	} {
		w.deny(c.code, c.says, c.sql)
	}
	w.log("a", "process.queued")
	if _, err := w.pool.Exec(t.Context(), "update towpath.share set session_id = null"); code(err) != "23514" {
		t.Errorf("a share of no session: %v", err)
	}
	w.sound()
}

// Transfers, cancels and deletions over the same processes and sessions, 200 rounds: nobody sees a deadlock, and the
// database is sound.
//
// feature: C22
func TestTransferCancelAndDeleteSideBySide(t *testing.T) {
	t.Parallel()
	const rounds = 200
	w := newWorld(t)
	var wg sync.WaitGroup
	expected := func(round int, op string, err error) {
		if err != nil && !store.Refused(err) {
			t.Errorf("round %d, %s: %v", round, op, err)
		}
	}
	for round := range rounds {
		a, b := fmt.Sprintf("a%d", round), fmt.Sprintf("b%d", round)
		w.session(a)
		w.session(b)
		var ids []string
		for i := range 3 {
			ids = append(ids, w.named(fmt.Sprintf("%d-%d", round, i), with("session:"+a), func(o *store.StartOptions) { o.Session, o.Wake = b, a }))
		}
		back := slices.Clone(ids)
		slices.Reverse(back)
		for op, call := range map[string]func() error{
			"transfer":      func() error { return w.store.Transfer(t.Context(), "session:"+a, "session:"+b, ids) },
			"transfer back": func() error { return w.store.Transfer(t.Context(), "session:"+b, "session:"+a, back) },
			"cancel": func() error {
				_, err := w.store.CancelUnshared(t.Context(), "session:"+a, "enough", 0, back)
				return err
			},
			"cancel shared":    func() error { _, err := w.store.CancelShared(t.Context(), "session:"+b, "enough", 0); return err },
			"delete":           func() error { _, err := w.store.DeleteSession(t.Context(), a); return err },
			"delete the other": func() error { _, err := w.store.DeleteSession(t.Context(), b); return err },
		} {
			wg.Go(func() { expected(round, op, call()) })
		}
		wg.Wait()
		if t.Failed() {
			return
		}
	}
	if n := get[int](w, "select count(*) from towpath.share s where s.session_id like 'a%'"); n != 0 {
		t.Errorf("%d shares with sessions that are gone", n)
	}
	// Who waits for a process has its sessions already.
	w.session("from")
	w.session("to")
	id := w.named("last", with("session:from"))
	holder := w.begin()
	_, err := holder.Exec(t.Context(), "select 1 from towpath.process where id = $1 for no key update", id)
	w.ok(err)
	conn, err := w.pool.Acquire(t.Context())
	w.ok(err)
	defer conn.Release()
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "select towpath.transfer('session:from', 'session:to', array[$1])", id)
		done <- err
	}()
	if waits, err := w.blocked(holder, conn, done); !waits {
		t.Fatalf("a transfer did not wait: %v", err)
	}
	if n := get[int](w, "select count(*) from (select 1 from towpath.session where id in ('from', 'to') for no key update skip locked) free"); n != 0 {
		t.Errorf("a transfer that waits for a process has left %d sessions free", n)
	}
	w.ok(holder.Rollback(t.Context()))
	w.ok(<-done)
	w.sound()
}
