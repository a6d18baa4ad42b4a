package store_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded/pgtest"
)

func TestListsOfProcesses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.profile("q", 1)
	var all []string
	for i := range 5 {
		all = append(all, w.submit(fmt.Sprintf("s%d", i%2)))
	}
	id, err := w.store.Submit(t.Context(), store.Submission{Profile: "q", Input: []byte("{}")})
	w.ok(err)
	all = append(all, id)
	_, err = w.store.Cancel(t.Context(), all[0], "x", 0)
	w.ok(err)
	type filter = map[string]any
	for _, c := range []struct {
		name   string
		filter filter
		max    int
		want   []int // in the order of submission
	}{
		{"everything, newest first", filter{"status": "any"}, 100, []int{5, 4, 3, 2, 1, 0}},
		{"live", nil, 100, []int{5, 4, 3, 2, 1}},
		{"a session", filter{"status": "any", "session": "s0"}, 100, []int{4, 2, 0}},
		{"a session's live ones", filter{"session": "s0"}, 100, []int{4, 2}},
		{"a profile", filter{"profile": "q"}, 100, []int{5}},
		{"the newest two", filter{"status": "any"}, 2, []int{5, 4}},
		{"nobody's", filter{"session": "s9"}, 100, nil},
	} {
		list, err := w.store.ListProcesses(t.Context(), c.filter, "", c.max)
		w.ok(err)
		var got, want []string
		for _, p := range list {
			got = append(got, p.ID)
		}
		for _, i := range c.want {
			want = append(want, all[i])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.name, got, want)
		}
	}
	_, err = w.store.Process(t.Context(), "p_none")
	w.refused(err, store.ErrNotFound, `unknown process "p_none"`)
}

func TestProfilesKeepWhatTheyAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := store.Profile{Name: "a", Digest: "d1", Manifest: []byte(`{"x": 1}`), Limits: []byte(`{"memory": 2}`), MaxAttempts: 4, TurnTimeout: 90 * time.Second}
	w.ok(w.store.PutProfile(t.Context(), put, "n1"))
	w.exec("update towpath.profile set health = 'healthy', enabled = false where name = 'a'")
	before := get[time.Time](w, "select updated_at from towpath.profiles where name = 'a'")
	w.ok(w.store.PutProfile(t.Context(), put, "n2"))
	if after := get[time.Time](w, "select updated_at from towpath.profiles where name = 'a'"); !after.Equal(before) {
		t.Error("the same registration was an update")
	}
	put.Digest = "d2"
	w.ok(w.store.PutProfile(t.Context(), put, "n2"))
	list, err := w.store.Profiles(t.Context())
	w.ok(err)
	if len(list) != 2 || list[1].Name != "p" {
		t.Fatalf("profiles %+v", list)
	}
	a := list[0]
	if a.Digest != "d2" || a.Health != "healthy" || a.Enabled || a.MaxAttempts != 4 || a.TurnTimeout != 90*time.Second || string(a.Manifest) != `{"x": 1}` || string(a.Limits) != `{"memory": 2}` {
		t.Errorf("profile %+v", a)
	}
}

func TestTroubleOnTheWayIsNoRefusal(t *testing.T) {
	t.Parallel()
	empty, err := store.Open(t.Context(), pgtest.CreateDatabase(t, ""), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(empty.Close)
	_, err = store.New(empty).Process(t.Context(), "x")
	if store.Refused(err) || !strings.Contains(fmt.Sprint(err), "process: the database is not migrated") {
		t.Errorf("without tables: %v", err)
	}
	if _, err := store.Open(t.Context(), "postgres://u:hidden@:bad", false); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("a malformed url: %v", err)
	}
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.store.Process(ctx, "x"); err == nil || store.Refused(err) || store.Rejected(err) {
		t.Errorf("a cancelled context: %v", err)
	}
}

// A statement that Postgres picked to break a deadlock is tried once more; a second time is the caller's matter.
func TestADeadlockIsTriedOnceMore(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"40P01", "40001"} {
		for times, want := range map[int]bool{1: true, 2: false} {
			w := newWorld(t)
			w.exec("create sequence public.tries")
			w.exec(fmt.Sprintf(`create function deadlock() returns trigger language plpgsql as $$ begin
				if nextval('public.tries') <= %d then raise exception using errcode = '%s'; end if; return new; end $$`, times, code))
			w.exec("create trigger deadlock before insert on towpath.input for each row execute function deadlock()")
			_, err := w.store.Submit(t.Context(), store.Submission{Profile: "p", Input: []byte("{}")})
			if (err == nil) != want || store.Refused(err) || store.Rejected(err) {
				t.Errorf("%s %d times: %v", code, times, err)
			}
		}
	}
}
