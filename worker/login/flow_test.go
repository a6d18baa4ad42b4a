package login_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/login"
)

// Each step may be another node's: one asks for the code, the next finds that nobody has been there, the third gets the tokens.
//
// feature: D103
func TestAnyNodeTakesALoginOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	id := w.asked()
	if l := w.now(id); l.State != store.LoginAsked || l.UserCode != nil {
		t.Errorf("%+v", l)
	}
	l, again := w.step(w.runs("one"), id)
	if l.State != store.LoginOffered || *l.UserCode != "ABCD-0001" || *l.VerificationURL != w.at.Issuer+"/codex/device" || *l.Provider != w.at.Issuer || again == 0 {
		t.Errorf("%+v, again in %s", l, again)
	}
	if other := w.asked(); other != id {
		t.Errorf("a second login %s is under way beside %s", other, id)
	}
	if l, again = w.step(w.runs("two"), id); l.State != store.LoginOffered || again == 0 {
		t.Errorf("%+v, again in %s", l, again)
	}
	w.issuer.Approve("ABCD-0001")
	if l, again = w.step(w.runs("three"), id); l.State != store.LoginDone || again != 0 || l.EndedAt == nil {
		t.Errorf("%+v, again in %s", l, again)
	}
	if w.value(w.node(), egress.LoginAccount, "") == "" {
		t.Error("no tokens are kept")
	}
	// A job that comes once more finds nothing to do; the next login is another one.
	if l, again = w.step(w.runs("one"), id); l.State != store.LoginDone || again != 0 {
		t.Errorf("%+v, again in %s", l, again)
	}
	if w.asked() == id {
		t.Error("the login that has ended is under way again")
	}
}

// How else a login ends, and that its row says so.
func TestLoginsThatEndWithoutTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, state, says string
		happens           func(w *world, id, code string)
	}{
		{"denied", store.LoginDenied, "status 403, access_denied", func(w *world, _, code string) { w.issuer.Deny(code) }},
		{"nobody came", store.LoginExpired, "nobody typed in the code", func(w *world, _, _ string) { w.shift("16 minutes") }},
		{"cancelled", store.LoginCancelled, "changed my mind", func(w *world, _, code string) {
			w.issuer.Approve(code)
			if done, err := w.store().CancelLogin(w.Context(), "codex", "changed my mind"); err != nil || !done {
				w.Errorf("%v, %v", done, err)
			}
		}},
		{"logged out", store.LoginCancelled, "given up", func(w *world, _, code string) {
			w.issuer.Approve(code)
			if n, err := w.store().Logins(nil).Release(w.Context(), "codex", w.at.Issuer); err != nil || n != 1 {
				w.Errorf("%d, %v", n, err)
			}
		}},
		{"no key here", store.LoginFailed, "set TOWPATH_LOGIN_KEY", func(w *world, _, _ string) { w.seal = nil }},
		{"another key here", store.LoginFailed, "another TOWPATH_LOGIN_KEY", func(w *world, _, _ string) { w.seal = w.keys(store.NewSealKey()) }},
		{"a key that began it is gone here", store.LoginFailed, "another TOWPATH_LOGIN_KEY", func(w *world, id, _ string) {
			newer := w.keys(store.NewSealKey(), w.key)
			if _, err := w.pool.Exec(w.Context(), "update towpath.login_flow set secret = $1", newer.Seal([]byte("x"), nil)); err != nil {
				w.Error(err)
			}
		}},
		{"no permit for the issuer", store.LoginFailed, "private", func(w *world, _, _ string) { w.at.Private = false }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 0)
			id := w.asked()
			l, _ := w.step(w.runs("n"), id)
			c.happens(w, id, *l.UserCode)
			l, again := w.step(w.runs("n"), id)
			if again != 0 || l.State != c.state || l.EndedAt == nil || l.Detail == nil || !strings.Contains(*l.Detail, c.says) {
				t.Errorf("%+v (%s), again in %s", l, *l.Detail, again)
			}
			if list, err := w.store().ListCredentials(t.Context()); err != nil || len(list) != 0 {
				t.Errorf("%+v, %v", list, err)
			}
			if n := w.count("select count(*) from towpath.login_flow where secret is not null"); n != 0 {
				t.Errorf("%d flows are still open", n)
			}
		})
	}
}

// A profile whose permits name no login, or one that does not work.
func TestALoginThatNobodyGives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	n := w.runs("n")
	n.At = func(context.Context, string) (egress.Login, error) { return egress.Login{}, errors.New("no [login]") }
	if l, again := w.step(n, w.asked()); again != 0 || l.State != store.LoginFailed || *l.Detail != "no [login]" {
		t.Errorf("%+v", l)
	}
	w.at.ClientID = "" // the stand-in says invalid_client
	if l, again := w.step(w.runs("n"), w.asked()); again != 0 || l.State != store.LoginFailed || !strings.Contains(*l.Detail, "status 400, invalid_client") {
		t.Errorf("%+v", l)
	}
	if _, err := w.store().StartLogin(t.Context(), "codecs"); !errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), `no profile "codecs"`) {
		t.Errorf("%v", err)
	}
}

// Trouble on the way is said, and asked again until it has passed.
func TestALoginOutlastsTrouble(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	id := w.asked()
	w.step(w.runs("n"), id)
	w.issuer.Trouble(1)
	l, again := w.step(w.runs("n"), id)
	if again == 0 || l.State != store.LoginOffered || l.Detail == nil || !strings.Contains(*l.Detail, "status 503, temporarily_unavailable") {
		t.Errorf("%+v, again in %s", l, again)
	}
	if l, again = w.step(w.runs("n"), id); again == 0 || l.Detail != nil {
		t.Errorf("%+v, again in %s", l, again)
	}
	w.issuer.Approve(*l.UserCode)
	if l, _ = w.step(w.runs("n"), id); l.State != store.LoginDone {
		t.Errorf("%+v", l)
	}
	// An issuer that is not there.
	gone := w.runs("n")
	gone.At = func(context.Context, string) (egress.Login, error) {
		return egress.Login{Issuer: "http://127.0.0.1:1", ClientID: "app", Private: true}, nil
	}
	if l, again := w.step(gone, w.asked()); again == 0 || l.State != store.LoginAsked || l.Detail == nil || !strings.Contains(*l.Detail, "http://127.0.0.1:1: ") {
		t.Errorf("%+v, again in %s", l, again)
	}
}

// A node that dies in the middle of a poll leaves the login to another, which waits until the hold has passed.
func TestALoginGoesOnAfterItsNodeDied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	id := w.asked()
	w.step(w.runs("dead"), id)
	// The dead one has taken the flow, and will never say what came of it.
	if _, err := w.store().Logins(w.seal).Poll(t.Context(), id, "dead", login.Hold); err != nil {
		t.Fatal(err)
	}
	w.issuer.Approve("ABCD-0001")
	if l, again := w.step(w.runs("next"), id); again == 0 || l.State != store.LoginOffered {
		t.Errorf("%+v, again in %s", l, again)
	}
	w.shift("31 seconds")
	if l, again := w.step(w.runs("next"), id); again != 0 || l.State != store.LoginDone {
		t.Errorf("%+v, again in %s", l, again)
	}
	// A step whose node is stopped can be taken again.
	id = w.asked()
	ctx, cancel := context.WithCancel(t.Context())
	stopped := w.runs("stopped")
	stopped.At = func(context.Context, string) (egress.Login, error) { cancel(); return w.at, nil }
	if _, err := stopped.Step(ctx, id); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if l, again := w.step(w.runs("next"), id); again == 0 || l.State != store.LoginOffered {
		t.Errorf("%+v, again in %s", l, again)
	}
}

// Whatever a login says of itself, it says no secret.
func TestALoginSaysNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.loggedIn()
	id := w.asked()
	l, _ := w.step(w.runs("n"), id)
	w.issuer.Deny(*l.UserCode)
	w.step(w.runs("n"), id)
	if n := w.count(`select count(*) from towpath.login l, towpath.login_flow f where l::text || f::text ~ 'canary|very-private|verifier|YWNjZXNzLWNhbmFyeQ'`); n != 0 {
		t.Errorf("%d rows hold a secret in the clear", n)
	}
	var denied *hostabi.Error
	if _, err := w.store().Login(t.Context(), "l_none"); !errors.Is(err, store.ErrNotFound) || errors.As(err, &denied) {
		t.Errorf("%v", err)
	}
}
