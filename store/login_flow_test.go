package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

func (w *world) logins(keys ...string) *store.Logins {
	w.Helper()
	if keys == nil {
		keys = []string{store.NewSealKey()}
	}
	seal, err := store.NewSealer(strings.Join(keys, ","))
	w.ok(err)
	return w.store.Logins(seal)
}

func browser(state string) store.LoginFlow {
	return store.LoginFlow{Kind: store.LoginBrowser, Code: state, Target: "codex", Provider: "openai", RedirectURI: "http://127.0.0.1:1455/cb"}
}

func device(code string) store.LoginFlow {
	return store.LoginFlow{Kind: store.LoginDevice, Code: code, Target: "codex", Provider: "openai"}
}

func (w *world) admit(l *store.Logins, login store.LoginFlow) {
	w.Helper()
	fresh, err := l.Admit(w.Context(), login, []byte("secret of "+login.Code), 10*time.Minute, 1024)
	w.ok(err)
	if !fresh {
		w.Errorf("%s was there already", login.Code)
	}
}

// Sixteen callers consume one flow, 500 rounds: each has one winner, and nobody brings it back.
//
// feature: D101 D102
func TestOneConsumesALogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.logins()
	for round := range 500 {
		login := browser(fmt.Sprintf("state-%d", round))
		if round%2 == 1 {
			login = device(login.Code)
		}
		w.admit(l, login)
		var won atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				secret, err := l.Consume(t.Context(), login, "")
				switch {
				case err == nil && string(secret) == "secret of "+login.Code:
					won.Add(1)
				case err == nil || !errors.Is(err, store.ErrConflict):
					t.Errorf("round %d: %q, %v", round, secret, err)
				}
			})
		}
		wg.Wait()
		if n := won.Load(); n != 1 {
			t.Errorf("round %d has %d winners", round, n)
		}
		if round%50 == 0 {
			// A node that still remembers it.
			_, err := l.Admit(t.Context(), login, []byte("stale"), time.Minute, 1024)
			w.refused(err, store.ErrConflict, "was consumed")
		}
	}
	// Who comes while another one has it waits for that, and gets nothing.
	w.admit(l, browser("last"))
	first := w.begin()
	const consume = "select towpath.login_consume('browser', key, 'codex', 'openai', redirect_uri) from towpath.login_flow where spent_at is null"
	_, err := first.Exec(t.Context(), consume)
	w.ok(err)
	w.behind(first, "TW409", consume)
	if n := get[int](w, "select count(*) from towpath.login_flow where secret is not null"); n != 0 {
		t.Errorf("%d secrets are left", n)
	}
}

// Two that are admitted at the same time cannot both count themselves as the last one.
func TestAnAdmissionWaitsForTheOneBeforeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admit := `select towpath.login_admit('device', sha256($1), 't', 'p', null, '\x01' || sha256('y'), '10 minutes', 1)`
	first := w.begin()
	_, err := first.Exec(t.Context(), admit, []byte("first"))
	w.ok(err)
	w.behind(first, "TW429", admit, []byte("second"))
}

// feature: D102
func TestLoginsUnderACapacity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := store.NewSealKey()
	nodes := []*store.Logins{w.logins(key), w.logins(key)}
	var in, one atomic.Int32
	var wg sync.WaitGroup
	for i := range 24 {
		wg.Go(func() {
			_, err := nodes[i%2].Admit(t.Context(), browser(fmt.Sprint(i)), []byte("x"), 10*time.Minute, 10)
			if err == nil {
				in.Add(1)
				one.Store(int32(i))
			} else if !errors.Is(err, store.ErrLimit) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := in.Load(); n != 10 {
		t.Fatalf("%d were let in, the capacity is 10", n)
	}
	_, err := nodes[0].Admit(t.Context(), browser("late"), []byte("x"), 10*time.Minute, 10)
	w.refused(err, store.ErrLimit, "10 login flows are under way")
	// What was consumed makes room, and what has expired too.
	_, err = nodes[1].Consume(t.Context(), browser(fmt.Sprint(one.Load())), "")
	w.ok(err)
	_, err = nodes[0].Admit(t.Context(), browser("next"), []byte("x"), 10*time.Minute, 10)
	w.ok(err)
	if n, err := nodes[1].Release(t.Context(), "codex", "openai"); err != nil || n != 10 {
		t.Errorf("released %d, %v", n, err)
	}
	w.admit(nodes[0], browser("late"))
	w.admit(nodes[0], browser("later"))
	w.shift("11 minutes")
	_, err = nodes[0].Admit(t.Context(), browser("new"), []byte("x"), 10*time.Minute, 1)
	w.ok(err)
	if n := get[int](w, "select count(*) from towpath.login_flow"); n != 1 {
		t.Errorf("%d flows, the others have expired", n)
	}
	w.shift("11 minutes")
	_, err = nodes[0].Consume(t.Context(), browser("new"), "")
	w.refused(err, store.ErrNotFound, "expired")
	w.settle()
	w.sweep()
	if n := get[int](w, "select count(*) from towpath.login_flow"); n != 0 {
		t.Errorf("%d flows after the sweep", n)
	}
}

// feature: D102
func TestALoginThatCouldNotBeConsumedStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.logins()
	w.admit(l, browser("s"))
	if fresh, err := l.Admit(t.Context(), browser("s"), []byte("another"), time.Hour, 1024); err != nil || fresh {
		t.Errorf("admitted again: %v, %v", fresh, err)
	}
	tx := w.begin()
	_, err := tx.Exec(t.Context(), "select towpath.login_consume('browser', key, 'codex', 'openai', redirect_uri) from towpath.login_flow")
	w.ok(err)
	w.ok(tx.Rollback(t.Context()))
	other := browser("s")
	for field, change := range map[string]func(*store.LoginFlow){
		"provider":     func(o *store.LoginFlow) { o.Provider = "x" },
		"target":       func(o *store.LoginFlow) { o.Target = "x" },
		"redirect_uri": func(o *store.LoginFlow) { o.RedirectURI = "http://evil" },
	} {
		o := other
		change(&o)
		for what, call := range map[string]func() error{
			"consume": func() error { _, err := l.Consume(t.Context(), o, ""); return err },
			"admit":   func() error { _, err := l.Admit(t.Context(), o, []byte("x"), time.Minute, 1024); return err },
		} {
			err := call()
			w.refused(err, store.ErrConflict, "another "+field)
			var e *store.Error
			if !errors.As(err, &e) || e.Field != field {
				t.Errorf("%s: %v names %q, want %q", what, err, e.Field, field)
			}
		}
	}
	_, err = l.Consume(t.Context(), browser("none"), "")
	w.refused(err, store.ErrNotFound, "no such login flow")
	if secret, err := l.Consume(t.Context(), browser("s"), ""); err != nil || string(secret) != "secret of s" {
		t.Errorf("%q, %v", secret, err)
	}
}

// feature: D103
func TestOnePollsADeviceLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.logins()
	w.admit(l, device("d"))
	p, err := l.Poll(t.Context(), "d", "a", time.Minute)
	w.ok(err)
	if string(p.Secret) != "secret of d" || p.Provider != "openai" {
		t.Errorf("%+v", p)
	}
	_, err = l.Poll(t.Context(), "d", "b", time.Minute)
	w.refused(err, store.ErrConflict, `"a" is polling`)
	_, err = l.Consume(t.Context(), device("d"), "b")
	w.refused(err, store.ErrConflict, `"a" is polling`)
	if freed, err := l.Unpoll(t.Context(), "d", "b"); err != nil || freed {
		t.Errorf("b freed it: %v, %v", freed, err)
	}
	w.shift("30 seconds")
	_, err = l.Poll(t.Context(), "d", "a", time.Minute)
	w.ok(err)
	w.shift("40 seconds") // what the first poll held
	_, err = l.Poll(t.Context(), "d", "b", time.Minute)
	w.refused(err, store.ErrConflict, `"a" is polling`)
	if freed, err := l.Unpoll(t.Context(), "d", "a"); err != nil || !freed {
		t.Errorf("a did not free it: %v, %v", freed, err)
	}
	_, err = l.Poll(t.Context(), "d", "b", time.Minute)
	w.ok(err)
	w.shift("2 minutes") // b is gone
	_, err = l.Poll(t.Context(), "d", "c", time.Minute)
	w.ok(err)
	if secret, err := l.Consume(t.Context(), device("d"), "c"); err != nil || string(secret) != "secret of d" {
		t.Errorf("%q, %v", secret, err)
	}
	_, err = l.Poll(t.Context(), "d", "c", time.Minute)
	w.refused(err, store.ErrConflict, "was consumed")
	var wg sync.WaitGroup
	var polls atomic.Int32
	w.admit(l, device("e"))
	for i := range 16 {
		wg.Go(func() {
			if _, err := l.Poll(t.Context(), "e", fmt.Sprint(i), time.Minute); err == nil {
				polls.Add(1)
			}
		})
	}
	wg.Wait()
	if n := polls.Load(); n != 1 {
		t.Errorf("%d poll at once", n)
	}
}

// What is in the database opens nothing: not the flow, not its secret, not under another key, not in another row.
//
// feature: D103 C24
func TestLoginSecretsAreEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, fresh := store.NewSealKey(), store.NewSealKey()
	l := w.logins(old)
	w.admit(l, browser("very-private-state"))
	w.admit(l, device("very-private-code"))
	for _, text := range []string{"very-private", "secret of"} {
		if n := get[int](w, "select count(*) from towpath.login_flow f where position(convert_to($1, 'UTF8') in f.secret) > 0 or position(convert_to($1, 'UTF8') in f.key) > 0 or f::text like '%' || $1 || '%'", text); n != 0 {
			t.Errorf("%q is in %d rows", text, n)
		}
	}
	if a, b := get[[]byte](w, "select secret from towpath.login_flow where kind = 'browser'"), get[[]byte](w, "select secret from towpath.login_flow where kind = 'device'"); bytes.Equal(a[5:17], b[5:17]) {
		t.Error("one nonce for two secrets")
	}
	// A new key comes before the old one, which still opens.
	both := w.logins(fresh, old)
	w.admit(both, browser("another"))
	if secret, err := both.Consume(t.Context(), browser("very-private-state"), ""); err != nil || string(secret) != "secret of very-private-state" {
		t.Errorf("%q, %v", secret, err)
	}
	list, err := w.store.ListLogins(t.Context())
	w.ok(err)
	seal, err := store.NewSealer(old)
	w.ok(err)
	var known []bool
	for _, f := range list {
		known = append(known, f.SealedWith != nil && seal.Has(*f.SealedWith))
	}
	if fmt.Sprint(known) != "[false true false]" { // another, the device's, the consumed
		t.Errorf("sealed with the old key: %v", known)
	}
	// A stranger's key finds nothing; a secret that was moved to another row does not open there.
	_, err = w.logins().Consume(t.Context(), device("very-private-code"), "")
	w.refused(err, store.ErrNotFound, "no such login flow")
	w.admit(l, device("victim"))
	w.exec("update towpath.login_flow set secret = (select secret from towpath.login_flow where kind = 'device' order by created_at limit 1) where kind = 'device'")
	if secret, err := l.Poll(t.Context(), "victim", "me", time.Minute); !errors.Is(err, store.ErrSealed) || len(secret.Secret) != 0 {
		t.Errorf("moved: %v", err)
	}
	for _, secret := range []string{"null", `'{"verifier": "plain"}'`, `'\x01'`} {
		w.deny("TW400", "secret", "select towpath.login_admit('device', sha256('x'), 't', 'p', null, "+secret+")")
	}
	if _, err := w.pool.Exec(t.Context(), `update towpath.login_flow set secret = convert_to(repeat('plain', 20), 'UTF8')`); code(err) != "23514" {
		t.Errorf("a secret in the clear: %v", err)
	}
	for _, keys := range []string{"", "short", store.NewSealKey() + ",x", strings.Repeat("A", 43)} {
		if _, err := store.NewSealer(keys); err == nil || keys != "" && strings.Contains(err.Error(), keys) {
			t.Errorf("key %q: %v", keys, err)
		}
	}
}

func TestWhatIsNoLogin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const sealed = `'\x01' || sha256('a')`
	big := strings.Repeat("x", 1<<20)
	for _, c := range []struct{ code, says, sql string }{
		{"TW400", "browser or device", "select towpath.login_admit('fax', sha256('x'), 't', 'p', null, " + sealed + ")"},
		{"TW400", "browser or device", "select towpath.login_consume(null, sha256('x'), 't', 'p')"},
		{"TW400", "32 bytes", "select towpath.login_admit('device', 'x', 't', 'p', null, " + sealed + ")"},
		{"TW400", "32 bytes", "select towpath.login_consume('device', null, 't', 'p')"},
		{"TW400", "target or provider", "select towpath.login_admit('device', sha256('x'), '', 'p', null, " + sealed + ")"},
		{"TW400", "target or provider", "select towpath.login_admit('device', sha256('x'), 't', null, null, " + sealed + ")"},
		{"TW400", "target or provider", "select towpath.login_admit('device', sha256('x'), 't', '" + big + "', null, " + sealed + ")"},
		{"TW400", "has a redirect_uri", "select towpath.login_admit('browser', sha256('x'), 't', 'p', null, " + sealed + ")"},
		{"TW400", "has none", "select towpath.login_admit('device', sha256('x'), 't', 'p', 'http://x', " + sealed + ")"},
		{"TW400", "ttl", "select towpath.login_admit('device', sha256('x'), 't', 'p', null, " + sealed + ", '2 hours')"},
		{"TW400", "ttl", "select towpath.login_admit('device', sha256('x'), 't', 'p', null, " + sealed + ", null)"},
		{"TW400", "capacity", "select towpath.login_admit('device', sha256('x'), 't', 'p', null, " + sealed + ", '1 minute', 0)"},
		{"TW400", "holder", "select towpath.login_poll(sha256('x'), '')"},
		{"TW400", "hold", "select towpath.login_poll(sha256('x'), 'me', '1 hour')"},
		{"TW404", "no such login flow", "select towpath.login_poll(sha256('x'), 'me')"},
		{"TW404", "no such login flow", "select towpath.login_poll(null, 'me')"},
	} {
		w.deny(c.code, c.says, c.sql)
	}
	if n := get[int](w, "select count(*) from towpath.login_flow"); n != 0 {
		t.Errorf("%d flows", n)
	}
}
