package store_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// plugin is a module made of a text, for profile q.
func plugin(text string) store.Plugin {
	module := []byte("\x00asm\x01\x00\x00\x00" + text)
	sum := sha256.Sum256(module)
	return store.Plugin{Module: module, Who: "node-a", Profile: store.Profile{
		Name: "q", Digest: hex.EncodeToString(sum[:]), Manifest: []byte(`{"version": "` + text + `"}`), Limits: []byte("{}"), MaxAttempts: 3, TurnTimeout: time.Minute}}
}

// put stores a plugin and reports whether it is the present one then.
func (w *world) put(p store.Plugin) bool {
	w.Helper()
	present, err := w.store.PutPlugin(w.Context(), p)
	w.ok(err)
	return present == p.Digest
}

func (w *world) served(name string) store.Served {
	w.Helper()
	list, err := w.store.Plugins(w.Context())
	w.ok(err)
	i := slices.IndexFunc(list, func(s store.Served) bool { return s.Name == name })
	if i < 0 {
		w.Fatalf("no profile %s in %v", name, list)
	}
	return list[i]
}

// Old and new nodes start in any order, and the newest module stays.
func TestASupersededModuleDoesNotComeBackUnasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := plugin("one"), plugin("two")
	if !w.put(one) || !w.put(two) {
		t.Fatal("a new module is not taken")
	}
	if w.put(one) {
		t.Error("an old node's start brings its module back")
	}
	s := w.served("q")
	if s.Digest != two.Digest || !slices.Equal(s.Superseded, []string{one.Digest}) || *s.AddedBy != "node-a" || string(s.Manifest) != `{"version": "two"}` {
		t.Errorf("served is %+v", s)
	}
	one.Again, one.Who = true, "alice"
	if !w.put(one) {
		t.Error("an operator's wish is not taken")
	}
	if s := w.served("q"); s.Digest != one.Digest || !slices.Equal(s.Superseded, []string{two.Digest}) || *s.AddedBy != "alice" {
		t.Errorf("served is %+v", s)
	}
	for _, p := range []store.Plugin{one, two} {
		if b, err := w.store.Module(t.Context(), p.Digest); err != nil || !bytes.Equal(b, p.Module) {
			t.Errorf("module %.8s is %q: %v", p.Digest, b, err)
		}
	}
	if b, err := w.store.Module(t.Context(), strings.Repeat("0", 64)); err != nil || b != nil {
		t.Errorf("an unknown module is %q: %v", b, err)
	}
}

// What a node's permit file says reaches submit, unless the node has another module by now.
func TestLimitsFollowThePresentModule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := plugin("one"), plugin("two")
	w.put(one)
	one.Limits, one.MaxAttempts, one.TurnTimeout = []byte(`{"memory_mb": "32"}`), 7, time.Hour
	w.ok(w.store.DescribePlugin(t.Context(), one.Profile, "node-b"))
	row := func() string {
		return get[string](w, "select concat_ws(' ', limits, max_attempts, turn_timeout, registered_by) from towpath.profile where name = 'q'")
	}
	if got := row(); got != `{"memory_mb": "32"} 7 01:00:00 node-b` {
		t.Errorf("described as %s", got)
	}
	w.put(two)
	w.ok(w.store.DescribePlugin(t.Context(), one.Profile, "node-b"))
	if got := row(); got != `{} 3 00:01:00 node-a` {
		t.Errorf("an old module describes the new one as %s", got)
	}
}

func TestAPutThatCannotBeMeant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := plugin("one")
	foreign.Module = plugin("two").Module
	named := plugin("one")
	named.Name = "Bad Name"
	large := plugin(strings.Repeat("x", 16<<20))
	large.Manifest = []byte("{}")
	empty := plugin("one")
	empty.Module = nil
	for _, c := range []struct {
		p    store.Plugin
		want error
	}{{foreign, store.ErrInvalid}, {named, store.ErrInvalid}, {large, store.ErrTooLarge}, {empty, store.ErrTooLarge}} {
		if _, err := w.store.PutPlugin(t.Context(), c.p); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
	if n := get[int](w, "select count(*) from towpath.plugin"); n != 0 {
		t.Errorf("%d plugins are there", n)
	}
}

// Nodes that start at once with the same and with other files end with one present module each of them names.
func TestManyNodesPutAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for round := range 8 {
				p := plugin(fmt.Sprint((i + round) % 4))
				p.Again = true
				if _, err := w.store.PutPlugin(t.Context(), p); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if s := w.served("q"); len(s.Superseded) != 3 || slices.Contains(s.Superseded, s.Digest) {
		t.Errorf("served is %+v", s)
	}
	// One that comes in the middle of another one takes its place.
	const put = "select towpath.plugin_put('q', $1, $2, '{}', '{}', 3, '1 minute', 'me')"
	one, two := plugin("one"), plugin("two")
	first := w.begin()
	_, err := first.Exec(t.Context(), put, one.Digest, one.Module)
	w.ok(err)
	w.behind(first, "", put, two.Digest, two.Module)
	if s := w.served("q"); s.Digest != two.Digest || len(s.Superseded) != 5 || !slices.Contains(s.Superseded, one.Digest) {
		t.Errorf("served is %+v", s)
	}
	if broken := get[[]string](w, "select coalesce(array_agg(rule || ': ' || detail), '{}') from towpath.check()"); len(broken) > 0 {
		t.Error(broken)
	}
}

func TestARemovedProfileIsRefusedByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := plugin("one"), plugin("two")
	w.put(one)
	w.put(two)
	if gone, err := w.store.RemovePlugin(t.Context(), "q", "node-a", one.Digest); err != nil || gone {
		t.Errorf("the file of a superseded module takes the present one away: %v %v", gone, err)
	}
	if gone, err := w.store.RemovePlugin(t.Context(), "q", "node-a", two.Digest); err != nil || !gone {
		t.Fatalf("removed: %v %v", gone, err)
	}
	_, err := w.store.Submit(t.Context(), store.Submission{Profile: "q", Input: []byte("{}")})
	var refusal *store.Error
	if !errors.Is(err, store.ErrNotFound) || !errors.As(err, &refusal) || !strings.Contains(refusal.Message, `"q" was removed`) || !strings.Contains(refusal.Hint, "by node-a") {
		t.Errorf("submit: %v", err)
	}
	if s := w.served("q"); s.Enabled || s.RemovedAt == nil || *s.RemovedBy != "node-a" {
		t.Errorf("served is %+v", s)
	}
	if gone, err := w.store.RemovePlugin(t.Context(), "q", "bob", ""); err != nil || gone {
		t.Errorf("removed twice: %v %v", gone, err)
	}
	if w.put(two) {
		t.Error("a start brings back what was removed")
	}
	two.Again = true
	if !w.put(two) || !w.served("q").Enabled || w.served("q").RemovedAt != nil {
		t.Error("it is not added again")
	}
	// A switch that an operator has turned off stays off.
	w.exec("update towpath.profile set enabled = false where name = 'q'")
	if w.put(plugin("three")); w.served("q").Enabled {
		t.Error("a new module switches the profile on")
	}
	if _, err := w.store.RemovePlugin(t.Context(), "nobody", "bob", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown profile: %v", err)
	}
}

func TestPermitsBySQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := "[limits]\nmemory_mb = 32\n"
	w.ok(w.store.Permit(t.Context(), "q", &body, "alice")) // before there is a plugin
	w.put(plugin("one"))
	if s := w.served("q"); s.Permits == nil || *s.Permits != body || *s.PermitsBy != "alice" {
		t.Errorf("served is %+v", s)
	}
	w.exec("select towpath.permit('q', '# none')")
	if s := w.served("q"); *s.Permits != "# none" || *s.PermitsBy == "alice" {
		t.Errorf("served is %+v", s)
	}
	w.ok(w.store.Permit(t.Context(), "q", nil, "alice"))
	if s := w.served("q"); s.Permits != nil {
		t.Errorf("served is %+v", s)
	}
	long := strings.Repeat("#", 262145)
	if err := w.store.Permit(t.Context(), "q", &long, ""); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	if err := w.store.Permit(t.Context(), "No Name", &body, ""); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("no name: %v", err)
	}
}

// A module goes when no turn can need it any more, not before.
func TestWhatATurnBeganWithStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := plugin("one")
	w.put(one)
	id, err := w.store.Submit(t.Context(), store.Submission{Profile: "q", Input: []byte("{}")})
	w.ok(err)
	w.put(plugin("two"))
	spare := func() []string {
		return get[[]string](w, "select coalesce(array_agg(m), '{}') from towpath.unpinned_modules() m")
	}
	for _, step := range []struct {
		what, do string
		want     []string
	}{
		{"just superseded", "", []string{}},
		{"a turn of its time has not ended", "insert into towpath.clock (shift) values ('30 days')", []string{}},
		{"it has just ended", "select towpath.cancel('" + id + "')", []string{}},
		{"its journal is gone", "update towpath.clock set shift = '32 days'", []string{one.Digest}},
	} {
		if step.do != "" {
			w.exec(step.do)
		}
		if got := spare(); !slices.Equal(got, step.want) {
			t.Errorf("%s: %v", step.what, got)
		}
	}
	// One that nobody ever pinned stays for a day.
	w.put(plugin("three"))
	w.put(plugin("four"))
	w.exec("delete from towpath.process where class = 'never'")
	if got := spare(); slices.Contains(got, plugin("three").Digest) {
		t.Error("a module of today is listed")
	}
	one.Again = true
	w.put(one)
	if got := spare(); slices.Contains(got, one.Digest) {
		t.Error("the present module is listed")
	}
}

func TestLinesAboutAPlugin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range 30 {
		var levels, lines []string
		for j := range 20 {
			levels, lines = append(levels, "info"), append(lines, fmt.Sprint(i*20+j))
		}
		w.ok(w.store.NotePlugin(t.Context(), "q", "n", levels, lines))
	}
	w.ok(w.store.NotePlugin(t.Context(), "other", "n", []string{"warn"}, []string{"the key is sk-abcdefghijklmnopqrstuvwxyz0123456789"}))
	list, err := w.store.PluginLines(t.Context(), "q", 0, 1000)
	w.ok(err)
	if len(list) != 500 || list[0].Line != "100" || list[499].Line != "599" || list[0].Level != "info" || list[0].Node != "n" {
		t.Errorf("%d lines from %+v to %+v", len(list), list[0], list[len(list)-1])
	}
	if n := get[int](w, "select count(*) from towpath.plugin_log where profile = 'q'"); n != 500 {
		t.Errorf("%d lines are kept", n)
	}
	if list, err = w.store.PluginLines(t.Context(), "q", list[497].ID, 1); err != nil || len(list) != 1 || list[0].Line != "599" {
		t.Errorf("after the 498th: %v %v", list, err)
	}
	if list, err = w.store.PluginLines(t.Context(), "other", 0, 10); err != nil || len(list) != 1 || strings.Contains(list[0].Line, "abcdefgh") {
		t.Errorf("another profile: %v %v", list, err)
	}
}

func TestTurnsToTryAModuleOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put(plugin("one"))
	w.exec(`select towpath.submit('q', '{}', null, null, jsonb_build_object('id', i)) from unnest('{first,second,cancelled,bare,old,broken}'::text[]) i`)
	for i, id := range []string{"old", "first", "second", "bare"} {
		w.exec(`select towpath.finish(c.process_no, c.fence, 'completed', '{}') from towpath.process p,
			towpath.claim(p.river_job_id, jsonb_build_object('process_id', p.id, 'generation', 1), 'n', gen_random_uuid(), '1 hour') c where p.id = $1`, id)
		if id != "bare" {
			w.exec(`insert into towpath.journal (process_no, first_n, count, entries, fence, at) select no, 0, 1, '', 1, now() from towpath.process where id = $1`, id)
		}
		if i == 0 {
			w.exec("insert into towpath.clock (shift) values ('25 hours')")
		}
	}
	w.exec("select towpath.cancel('cancelled')")
	w.exec(`select towpath.finish(c.process_no, c.fence, 'failed', '{}', 'server') from towpath.process p,
		towpath.claim(p.river_job_id, jsonb_build_object('process_id', p.id, 'generation', 1), 'n', gen_random_uuid(), '1 hour') c where p.id = 'broken'`)
	w.exec("insert into towpath.journal (process_no, first_n, count, entries, fence, at) select no, 0, 1, '', 1, now() from towpath.process where id = 'broken'")
	for limit, want := range map[int][]string{10: {"second", "first"}, 1: {"second"}} {
		if got, err := w.store.JournalledTurns(t.Context(), "q", limit); err != nil || !slices.Equal(got, want) {
			t.Errorf("the last %d are %v: %v", limit, got, err)
		}
	}
	if got, err := w.store.JournalledTurns(t.Context(), "p", 10); err != nil || len(got) != 0 {
		t.Errorf("of another profile: %v %v", got, err)
	}
}
