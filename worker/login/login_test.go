package login_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/towpath/towpath/examples/standin"
	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/queue/queuetest"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/store/embedded/pgtest"
	"github.com/towpath/towpath/worker/egress"
	"github.com/towpath/towpath/worker/login"
)

func TestMain(m *testing.M) {
	code := pgtest.Main(m)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// world is an issuer, and nodes that share a key.
type world struct {
	*testing.T
	issuer *standin.Server
	at     egress.Login
	pool   *pgxpool.Pool
	key    string
	seal   *store.Sealer
}

func (w *world) keys(keys ...string) *store.Sealer {
	w.Helper()
	seal, err := store.NewSealer(strings.Join(keys, ","))
	if err != nil {
		w.Fatal(err)
	}
	return seal
}

// shift moves the database's clock.
func (w *world) shift(by string) {
	w.Helper()
	if _, err := w.pool.Exec(w.Context(), "insert into towpath.clock (shift) values ($1::text::interval) on conflict (one) do update set shift = clock.shift + excluded.shift", by); err != nil {
		w.Fatal(err)
	}
}

func (w *world) count(query string) (n int) {
	w.Helper()
	if err := w.pool.QueryRow(w.Context(), query).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func newWorld(t *testing.T, ttl time.Duration) *world {
	w := &world{T: t, issuer: standin.New(standin.Options{TokenTTL: ttl}), pool: queuetest.Pool(t)}
	server := httptest.NewServer(w.issuer)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	if _, err := w.pool.Exec(t.Context(), `select towpath.profile_put('codex', 'd', '{}', '{}', 3, '1 minute', 'n')`); err != nil {
		t.Fatal(err)
	}
	w.at = egress.Login{Issuer: server.URL, ClientID: "app", Private: true}
	w.key = store.NewSealKey()
	w.seal = w.keys(w.key)
	return w
}

func (w *world) store() *store.Store { return store.New(w.pool) }

// node is what a node knows of the profile's login.
func (w *world) node() egress.Vault {
	return login.Vault(w.store().Credentials(w.seal), w.at, "codex")
}

// runs takes logins on as the node of that name.
func (w *world) runs(name string) login.Node {
	return login.Node{ID: name, Store: w.store(), Seal: w.seal, At: func(context.Context, string) (egress.Login, error) { return w.at, nil }}
}

// asked begins a login.
func (w *world) asked() string {
	w.Helper()
	id, err := w.store().StartLogin(w.Context(), "codex")
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) now(id string) store.Login {
	w.Helper()
	l, err := w.store().Login(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

// step takes a login one step on, and returns what it is then.
func (w *world) step(by login.Node, id string) (store.Login, time.Duration) {
	w.Helper()
	again, err := by.Step(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return w.now(id), again
}

// login logs in, with whatever the person does once there is a code.
func (w *world) login(person func(code string)) store.Login {
	w.Helper()
	id, shown := w.asked(), false
	for {
		l, again := w.step(w.runs("me"), id)
		if l.UserCode != nil && !shown {
			shown = true
			person(*l.UserCode)
		}
		if again == 0 {
			return l
		}
	}
}

func (w *world) loggedIn() {
	w.Helper()
	if l := w.login(func(code string) { w.issuer.Approve(code) }); l.State != store.LoginDone || *l.Provider != w.at.Issuer {
		w.Fatalf("%+v", l)
	}
}

func (w *world) value(v egress.Vault, field, stale string) string {
	w.Helper()
	value, _, err := v(w.Context(), field, stale)
	if err != nil {
		w.Fatal(err)
	}
	return value
}

// denied wants an error that sends a person to the command.
func (w *world) denied(err error, says string) {
	w.Helper()
	var refused *hostabi.Error
	if !errors.As(err, &refused) || refused.Code != hostabi.EDENIED || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "worker login codex") {
		w.Errorf("%v, want %q", err, says)
	}
	if err != nil && strings.Contains(err.Error(), "canary") {
		w.Errorf("a token is in %v", err)
	}
}

// feature: D103
func TestALoginGivesTokensToAllNodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	_, _, err := w.node()(t.Context(), egress.LoginToken, "")
	w.denied(err, "nobody has logged in")
	w.loggedIn()
	one, two := w.node(), w.node()
	token := w.value(one, egress.LoginToken, "")
	if token == "" || token != w.value(two, egress.LoginToken, "") || w.value(one, egress.LoginAccount, "") != standin.Account {
		t.Errorf("%q %q", token, w.value(two, egress.LoginToken, ""))
	}
	// A server refused it: one node renews it, the others learn of it.
	w.issuer.Revoke()
	var wg sync.WaitGroup
	fresh := make([]string, 12)
	for i := range fresh {
		wg.Go(func() {
			var err error
			if fresh[i], _, err = []egress.Vault{one, two}[i%2](t.Context(), egress.LoginToken, token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, f := range fresh {
		if f != fresh[0] || f == token {
			t.Errorf("%q", fresh)
			break
		}
	}
	if n := w.issuer.Renewals(); n != 1 || w.issuer.Reused() {
		t.Errorf("%d renewals, reused: %v", n, w.issuer.Reused())
	}
}

// feature: D103
func TestATokenIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4*time.Minute) // less than how early it is renewed
	w.loggedIn()
	v := w.node()
	first := w.value(v, egress.LoginToken, "")
	if n := w.issuer.Renewals(); n != 1 {
		t.Errorf("%d renewals", n)
	}
	// The issuer has trouble: what still holds is used.
	w.issuer.Trouble(1)
	if got := w.value(v, egress.LoginToken, ""); got != first {
		t.Errorf("%q, want %q", got, first)
	}
	// It refuses for good: that is noted, and what still holds is used. Nobody asks it again.
	w.issuer.Forget()
	for range 2 {
		if got := w.value(v, egress.LoginToken, ""); got != first {
			t.Errorf("%q, want %q", got, first)
		}
	}
	list, err := store.New(w.pool).ListCredentials(t.Context())
	if err != nil || len(list) != 1 || list[0].Refused == nil || !strings.Contains(*list[0].Refused, "refresh_token_reused") {
		t.Errorf("%+v, %v", list, err)
	}
	// When it is worth nothing any more, a person is needed.
	_, _, err = v(t.Context(), egress.LoginToken, first)
	w.denied(err, "renews the login no more")
	w.loggedIn()
	if got := w.value(v, egress.LoginToken, first); got == first {
		t.Error("the new login gives the old token")
	}
}

// Trouble of the issuer is no refusal, when there is nothing left to use either.
func TestTroubleOfTheIssuerPasses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.loggedIn()
	v := w.node()
	token := w.value(v, egress.LoginToken, "")
	w.issuer.Trouble(1)
	var refused *hostabi.Error
	if _, _, err := v(t.Context(), egress.LoginToken, token); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "status 503, temporarily_unavailable") {
		t.Errorf("%v", err)
	}
	if got := w.value(v, egress.LoginToken, token); got == token {
		t.Error("not renewed")
	}
}
