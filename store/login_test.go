package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

// asked begins a login of profile p.
func (w *world) asked() string {
	w.Helper()
	id, err := w.store.StartLogin(w.Context(), "p")
	w.ok(err)
	return id
}

// offered gives a login its code.
func (w *world) offered(l *store.Logins, id string) store.Login {
	w.Helper()
	login, err := w.store.Login(w.Context(), id)
	w.ok(err)
	w.ok(l.Offer(w.Context(), login, "openai", []byte("the device"), "https://x/device", "ABCD"))
	login, err = w.store.Login(w.Context(), id)
	w.ok(err)
	return login
}

// Twelve ask for a login of one profile at once: it is one login, with one job.
//
// feature: D102 D103
func TestOneLoginOfAProfileIsUnderWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := make([]string, 12)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i] = w.asked() })
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("%q", ids)
		}
	}
	if got := get[string](w, "select string_agg(kind || ' ' || queue || ' ' || (args ->> 'login_id'), ', ') from river_job"); got != "login lifecycle "+ids[0] {
		t.Errorf("jobs: %s", got)
	}
	// The job goes with the transaction that asks.
	w.profile("q", 1)
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "select towpath.login_start('q')")
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	if n := get[int](w, "select count(*) from river_job"); n != 1 {
		t.Errorf("%d jobs", n)
	}
	_, err = w.store.StartLogin(t.Context(), "none")
	w.refused(err, store.ErrNotFound, `no profile "none"`)
	w.deny("TW400", "ttl", "select towpath.login_start('p', '2 hours')")
	w.deny("TW400", "ttl", "select towpath.login_start('p', '0 seconds')")
	w.deny("TW400", "outcome", "select towpath.login_end('x', 'done', null)")
	w.sound()
}

// A login that is done has its tokens, and its flow is consumed: both by who polls it, or neither.
//
// feature: D101 D103
func TestALoginIsDoneWithItsTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := store.NewSealKey()
	l, c := w.logins(key), w.credentials(key)
	id := w.asked()
	login := w.offered(l, id)
	if login.State != store.LoginOffered || *login.UserCode != "ABCD" || *login.Provider != "openai" || !l.Knows(login) || w.logins().Knows(login) {
		t.Errorf("%+v", login)
	}
	w.refused(l.Offer(t.Context(), login, "openai", []byte("another"), "https://x/device", "EFGH"), store.ErrConflict, "has its code already")
	w.ok(w.store.NoteLogin(t.Context(), id, "the provider is slow"))
	if p, err := l.Poll(t.Context(), id, "a", time.Minute); err != nil || string(p.Secret) != "the device" {
		t.Errorf("%+v, %v", p, err)
	}
	w.refused(l.Done(t.Context(), login, "b", []byte("tokens of b"), time.Time{}), store.ErrConflict, `"a" is polling`)
	_, err := c.Get(t.Context(), "p", "openai")
	w.refused(err, store.ErrNotFound, "nobody has logged in")
	w.ok(l.Done(t.Context(), login, "a", []byte("tokens"), time.Time{}))
	if got, err := c.Get(t.Context(), "p", "openai"); err != nil || string(got.Secret) != "tokens" {
		t.Errorf("%+v, %v", got, err)
	}
	if login, err = w.store.Login(t.Context(), id); err != nil || login.State != store.LoginDone || login.Detail != nil {
		t.Errorf("%+v, %v", login, err)
	}
	// Nothing comes after the end.
	w.refused(l.Done(t.Context(), login, "a", []byte("late"), time.Time{}), store.ErrConflict, "has ended: done")
	w.refused(w.store.NoteLogin(t.Context(), id, "late"), store.ErrConflict, "has ended: done")
	if ended, err := w.store.EndLogin(t.Context(), id, store.LoginFailed, "late"); err != nil || ended {
		t.Errorf("%v, %v", ended, err)
	}
	if w.asked() == id {
		t.Error("the next login is the last one")
	}
	w.sound()
}

// A login ends without tokens when it is cancelled, given up or late, or when nobody takes it on any more. Its row says why.
//
// feature: D102
func TestALoginThatEndsWithoutTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.logins()
	state := func(id string) string {
		t.Helper()
		login, err := w.store.Login(t.Context(), id)
		w.ok(err)
		if login.Detail == nil {
			return login.State
		}
		return login.State + ": " + *login.Detail
	}
	expect := func(id, want string) {
		t.Helper()
		if got := state(id); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if n := get[int](w, "select count(*) from towpath.login_flow where secret is not null"); n != 0 {
			t.Errorf("%s: %d flows are open", want, n)
		}
		w.sound()
	}

	id := w.asked()
	w.offered(l, id)
	if done, err := w.store.CancelLogin(t.Context(), "p", "not today"); err != nil || !done {
		t.Errorf("%v, %v", done, err)
	}
	expect(id, "cancelled: not today")
	if got := get[string](w, "select state::text from river_job where args ->> 'login_id' = $1", id); got != "cancelled" {
		t.Errorf("its job is %s", got)
	}
	if done, err := w.store.CancelLogin(t.Context(), "p", "again"); err != nil || done {
		t.Errorf("%v, %v", done, err)
	}

	id = w.asked()
	w.offered(l, id)
	if n, err := l.Release(t.Context(), "p", "another provider"); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := l.Release(t.Context(), "p", "openai"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	expect(id, "cancelled: the credential was given up")

	// Somebody pressed cancel in River UI: the next one who asks does not get a login that nobody takes on.
	id = w.asked()
	w.exec("update river_job set state = 'cancelled', finalized_at = now() where args ->> 'login_id' = $1", id)
	next := w.asked()
	if next == id {
		t.Error("the same login again")
	}
	expect(id, "cancelled: its River job has ended")

	// Late: the sweep ends it, and nothing can be done with it before that either.
	w.offered(l, next)
	w.shift("16 minutes")
	login, err := w.store.Login(t.Context(), next)
	w.ok(err)
	w.refused(l.Done(t.Context(), login, "a", []byte("late"), time.Time{}), store.ErrNotFound, "the login has expired")
	w.settle()
	w.sweep()
	expect(next, "expired: nobody typed in the code in time")

	// A day later it is forgotten.
	w.shift("25 hours")
	w.sweep()
	if _, err := w.store.Login(t.Context(), next); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if list, err := w.store.AskedLogins(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// What is in the way of a login stands in its row until it is not.
func TestALoginSaysWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.asked()
	for _, says := range []string{"status 503", ""} {
		w.ok(w.store.NoteLogin(t.Context(), id, says))
		if got := get[string](w, "select coalesce(detail, '') from towpath.logins where id = $1", id); got != says {
			t.Errorf("%q, want %q", got, says)
		}
	}
	w.refused(w.store.NoteLogin(t.Context(), "l_none", "x"), store.ErrNotFound, `no login "l_none"`)
}
