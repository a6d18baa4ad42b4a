package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

func (w *world) listed(filter map[string]any) []string {
	w.Helper()
	list, err := w.store.ListProcesses(w.Context(), filter, "", 1000)
	w.ok(err)
	var ids []string
	for _, p := range list {
		ids = append(ids, p.ID)
	}
	return ids
}

// feature: D12 D45 D46 D47 D51 D53
func TestEachKeyOfAFilter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	w.session("r")
	n := node("n")
	named := func(id string, change func(*store.StartOptions)) {
		p := operation()
		p.Options.ID = id
		change(&p.Options)
		w.launch(p)
	}
	named("plain", func(*store.StartOptions) {})
	named("described", func(o *store.StartOptions) {
		o.Kind, o.Label, o.Definition, o.Tenant, o.Project = "k", "l", "d", "t", "j"
	})
	named("child", func(o *store.StartOptions) { o.Parent = "plain" })
	named("of-host", func(o *store.StartOptions) { o.Originator = &store.Originator{Host: "h"} })
	named("of-session", func(o *store.StartOptions) {
		o.Originator, o.Share = &store.Originator{Session: "s"}, []string{"session:s"}
		o.CausedBy = &store.Cause{Occurrence: "o", Subscription: "u"}
	})
	named("of-frame", func(o *store.StartOptions) {
		o.Originator, o.Share = &store.Originator{Session: "s", Frame: "f"}, []string{"session:s/frame:f", "session:r"}
		o.CausedBy = &store.Cause{Occurrence: "o"}
	})
	named("waits", func(*store.StartOptions) {})
	w.ok(w.store.Park(t.Context(), w.claimed("waits", n), raw(`{"kind": "x"}`)))
	named("runs", func(*store.StartOptions) {})
	w.claimed("runs", n)
	_, err := w.store.Cancel(t.Context(), "runs", "no", ttl)
	w.ok(err)
	ends := map[string]string{"done": "completed", "bad": "failed", "stopped": "cancelled", "lost": "abandoned"}
	for _, id := range []string{"done", "bad", "stopped", "lost"} {
		named(id, func(*store.StartOptions) {})
		c := store.Completion{Status: ends[id], Outcome: raw("{}"), Key: "k"}
		if id == "bad" {
			c.Kind = "x"
		}
		w.ok(w.store.Complete(t.Context(), w.claimed(id, n), c))
	}
	turn := w.submit("s")
	ext := w.launch(external())
	live := []string{ext, turn, "runs", "waits", "of-frame", "of-session", "of-host", "child", "described", "plain"}
	type filter = map[string]any
	for name, c := range map[string]struct {
		filter filter
		want   []string
	}{
		"live by default":               {nil, live},
		"any":                           {filter{"status": "any"}, slices.Concat(live[:2], []string{"lost", "stopped", "bad", "done"}, live[2:])},
		"ended":                         {filter{"status": "ended"}, []string{"lost", "stopped", "bad", "done"}},
		"D12 abandoned":                 {filter{"status": "abandoned"}, []string{"lost"}},
		"D12 cancelled":                 {filter{"status": "cancelled"}, []string{"stopped"}},
		"D12 failed":                    {filter{"status": "failed"}, []string{"bad"}},
		"D12 completed":                 {filter{"status": "completed"}, []string{"done"}},
		"queued, not waiting":           {filter{"status": "queued", "class": "operation", "waiting": false}, live[4:]},
		"waiting":                       {filter{"waiting": true}, []string{"waits"}},
		"cancelling":                    {filter{"cancelling": true}, []string{"runs"}},
		"class":                         {filter{"class": "external"}, []string{ext}},
		"session":                       {filter{"session": "s"}, []string{turn}},
		"profile":                       {filter{"profile": "p"}, []string{turn}},
		"tenant":                        {filter{"tenant": "t"}, []string{"described"}},
		"project":                       {filter{"project": "j"}, []string{"described"}},
		"parent":                        {filter{"parent": "plain"}, []string{"child"}},
		"definition":                    {filter{"definition": "d"}, []string{"described"}},
		"kind":                          {filter{"kind": "k"}, []string{"described"}},
		"label":                         {filter{"label": "l", "kind": "k"}, []string{"described"}},
		"label of nobody":               {filter{"label": "' or true --"}, nil},
		"node":                          {filter{"node": "n"}, []string{"runs"}},
		"D45 shared, exactly":           {filter{"shared_with": "session:s"}, []string{"of-session"}},
		"D45 shared with a frame":       {filter{"shared_with": "session:s/frame:f"}, []string{"of-frame"}},
		"D47 shared, not originated":    {filter{"shared_with": "session:r"}, []string{"of-frame"}},
		"D47 originated, not shared":    {filter{"originated_by": filter{"session": "r"}}, nil},
		"D46 originated by any frame":   {filter{"originated_by": filter{"session": "s"}}, []string{"of-frame", "of-session"}},
		"D46 originated by a frame":     {filter{"originated_by": filter{"session": "s", "frame": "f"}}, []string{"of-frame"}},
		"D46 a host is no session":      {filter{"originated_by": filter{"session": "h"}}, nil},
		"originator":                    {filter{"originator": "host:h"}, []string{"of-host"}},
		"cause":                         {filter{"caused_by": filter{"occurrence": "o"}}, []string{"of-frame", "of-session"}},
		"cause, by both":                {filter{"caused_by": filter{"occurrence": "o", "subscription": "u"}}, []string{"of-session"}},
		"made before the world":         {filter{"created_to": "2020-01-01T00:00:00Z"}, nil},
		"made since, and of the tenant": {filter{"created_from": "2020-01-01T00:00:00Z", "tenant": "t"}, []string{"described"}},
	} {
		if got := w.listed(c.filter); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for _, bad := range []filter{{"colour": "red"}, {"status": "stuck"}, {"status": nil}, {"waiting": "yes"}, {"session": 1}, {"originated_by": filter{}}, {"created_from": "yesterday-ish"}} {
		if _, err := w.store.ListProcesses(t.Context(), bad, "", 10); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, place := range []string{"x", "2026-01-01T00:00:00.000000Z", "2026-99-01T00:00:00.000000Z p", "' or true --"} {
		if _, err := w.store.ListProcesses(t.Context(), nil, place, 10); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("place %q: %v", place, err)
		}
	}
	for _, max := range []int{0, -1, 1001} {
		if _, err := w.store.ListProcesses(t.Context(), nil, "", max); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("max %d: %v", max, err)
		}
	}
}

// feature: D51
func TestPagesHoldStillWhileProcessesComeAndGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var all []string
	for i := range 50 {
		p := operation()
		p.Options.ID = fmt.Sprintf("p%02d", i)
		all = append(all, w.launch(p))
	}
	// Half of them are of one moment.
	w.raw("update towpath.process set created_at = (select created_at from towpath.process where id = 'p20') where id between 'p20' and 'p44'")
	slices.Reverse(all)
	var seen []string
	place := ""
	for {
		page, err := w.store.ListProcesses(t.Context(), map[string]any{"status": "any"}, place, 7)
		w.ok(err)
		if len(page) == 0 {
			break
		}
		if page[0].Place == place {
			t.Fatalf("a page begins with the last one's end, %s", place)
		}
		for _, p := range page {
			if !strings.HasPrefix(p.ID, "p") || len(p.ID) != 3 {
				t.Errorf("%s came late and is listed", p.ID)
			}
			seen = append(seen, p.ID)
		}
		place = page[len(page)-1].Place
		// A new one, and one that changes on a page to come.
		w.launch(operation())
		_, err = w.store.Cancel(t.Context(), all[min(len(seen), 49)], "no", 0)
		w.ok(err)
	}
	if !slices.Equal(seen, all) {
		t.Errorf("seen %v", seen)
	}
}

// feature: D51
func TestAPageFarOutCostsWhatTheFirstOneDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(`insert into towpath.process (id, class, disposition, tenant, project, request_digest, status, max_attempts, created_at, updated_at, originator, originator_session)
		select 'p' || i, 'external', 'externally_owned', 't' || i % 3, 'j', '', 'running', 1, towpath.now() - i * interval '1 second', towpath.now(),
		'session:s' || i % 2, 's' || i % 2 from generate_series(1, 12000) i`)
	w.exec("analyze towpath.process")
	for _, filter := range []string{`{}`, `{"status": "any"}`, `{"originated_by": {"session": "s1"}, "status": "any"}`, `{"tenant": "t1"}`} {
		place := ""
		var first, last int
		for n := range 100 {
			list := fmt.Sprintf("select * from towpath.processes_list('%s', nullif('%s', ''), 40)", filter, place)
			buffers := w.buffers(list)
			if n == 0 {
				first = buffers
			}
			last = buffers
			place = get[string](w, "select place from ("+list+") l order by place limit 1")
		}
		if last > 2*first {
			t.Errorf("filter %s: page 100 reads %d buffers, page 1 reads %d", filter, last, first)
		}
	}
	if n := w.buffers("select * from towpath.changes('1:5:0:', 10)"); n > 100 {
		t.Errorf("a page of the feed reads %d buffers", n)
	}
}

// feature: D36 D37 D38 D39 D40
func TestCancellingMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.session("s")
	n := node("n")
	shared := operation()
	shared.Options.Share = []string{"session:s"}
	mine, foreign := []string{w.launch(shared), w.launch(shared), w.launch(shared)}, w.launch(operation())
	frame := operation()
	frame.Options.Share = []string{"session:s/frame:f"}
	framed := w.launch(frame)
	runs := w.launch(shared)
	o := w.claimed(runs, n)
	// One of them cannot be cancelled.
	w.exec(fmt.Sprintf(`create function refuse() returns trigger language plpgsql as $$ begin raise 'broken disk'; end $$;
		create trigger refuse before update on towpath.process for each row when (old.id = '%s') execute function refuse()`, mine[1]))
	report := func(list []store.Cancelled) map[string]string {
		m := map[string]string{}
		for _, c := range list {
			m[c.ID] = c.Status
			if c.Error != nil {
				m[c.ID] += ": " + *c.Error
			}
		}
		return m
	}
	list, err := w.store.CancelShared(t.Context(), "session:s", "enough", time.Minute)
	w.ok(err)
	want := map[string]string{mine[0]: "cancelled", mine[1]: "queued: broken disk", mine[2]: "cancelled", runs: "running"}
	if got := report(list); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("session: %v, want %v", got, want)
	}
	w.status(foreign, "queued")
	w.status(framed, "queued")
	w.exec("drop trigger refuse on towpath.process")
	for range 250 { // more than one batch
		w.launch(operation())
	}
	list, err = w.store.CancelAll(t.Context(), "enough", time.Minute)
	w.ok(err)
	if got := report(list); len(got) != 254 || got[foreign] != "cancelled" || got[mine[1]] != "cancelled" || got[framed] != "cancelled" || got[runs] != "running" {
		t.Errorf("host: %d, %v", len(got), got[runs])
	}
	// The one that runs was asked, once, and is told when its time is up.
	w.log(runs, "process.queued", "process.started", "process.cancel_requested")
	words, err := w.store.Poll(t.Context(), []store.Owner{o})
	w.ok(err)
	if len(words) != 1 || words[0].Kind != "cancel" {
		t.Errorf("its owner hears %+v", words)
	}
	w.ok(w.store.Complete(t.Context(), o, store.Completion{Status: "cancelled", Outcome: raw("{}"), Key: "k"}))
	if list, err := w.store.CancelAll(t.Context(), "enough", 0); err != nil || len(list) != 0 {
		t.Errorf("nothing lives: %v, %v", list, err)
	}
	_, err = w.store.CancelShared(t.Context(), "everything", "x", 0)
	w.refused(err, store.ErrInvalid, "is not a scope")
	w.sound()
}

// feature: D42 D43 D44
func TestGivingUpOnASilentOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bound := operation()
	bound.Disposition = "owner_bound"
	id, ext := w.launch(bound), w.launch(external())
	o := w.claimed(id, node("n"))
	w.settle()
	first, err := w.store.RequestAbandon(t.Context(), id, "me", "silent since noon, password: x")
	w.ok(err)
	again, err := w.store.RequestAbandon(t.Context(), id, "you", "me too")
	w.ok(err)
	if string(again) != string(first) || !strings.Contains(string(first), `"requested_by": "me"`) {
		t.Errorf("first %s, then %s", first, again)
	}
	if _, err := w.pool.Exec(t.Context(), `update towpath.process set abandon_request = '{"requested_by": "you"}' where id = $1`, id); err == nil {
		t.Error("the mark was changed")
	}
	w.log(id, "process.queued", "process.started", "process.abandon_requested")
	// Its owner lives: it may finish, and nothing else ends it.
	held, err := w.store.Renew(t.Context(), store.Node{ID: "n", Incarnation: incarnation(w, id)}, ttl)
	w.ok(err)
	if len(held) != 1 {
		t.Errorf("held %v", held)
	}
	if ids := w.sweep(); len(ids) != 0 {
		t.Errorf("swept %v", ids)
	}
	// Time alone ends nothing.
	silent := w.launch(bound)
	w.claimed(silent, node("n"))
	w.shift("1000 hours")
	if ids := w.sweep(); !slices.Equal(ids, []string{id}) {
		t.Errorf("swept %v", ids)
	}
	w.status(silent, "running")
	w.status(ext, "running")
	p := w.process(id)
	if p.Status != "abandoned" || !strings.Contains(string(p.Outcome), `"requested_by": "me"`) || !strings.Contains(string(p.Outcome), `"owner": {`) {
		t.Errorf("%s with %s", p.Status, p.Outcome)
	}
	w.refused(w.store.Complete(t.Context(), o, done("k")), store.ErrConflict, "is abandoned already")
	_, err = w.store.RequestAbandon(t.Context(), id, "me", "")
	w.refused(err, store.ErrConflict, "is abandoned already")
	_, err = w.store.RequestAbandon(t.Context(), "none", "me", "")
	w.refused(err, store.ErrNotFound, "none")
	_, err = w.store.RequestAbandon(t.Context(), ext, "", "")
	w.refused(err, store.ErrInvalid, "requested_by")
	w.sound()
}
