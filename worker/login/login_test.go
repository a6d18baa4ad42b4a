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
	seal   *store.Sealer
}

func newWorld(t *testing.T, ttl time.Duration) *world {
	w := &world{T: t, issuer: standin.New(standin.Options{TokenTTL: ttl}), pool: queuetest.Pool(t)}
	server := httptest.NewServer(w.issuer)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	w.at = egress.Login{Issuer: server.URL, ClientID: "app", Private: true}
	var err error
	if w.seal, err = store.NewSealer(store.NewSealKey()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) keeper() login.Keeper {
	s := store.New(w.pool)
	return login.Keeper{Logins: s.Logins(w.seal), Credentials: s.Credentials(w.seal)}
}

func (w *world) node() egress.Vault {
	return login.Vault(store.New(w.pool).Credentials(w.seal), w.at, "codex")
}

// login logs in, with whatever the person does once there is a code.
func (w *world) login(ctx context.Context, person func(login.Offer)) error {
	w.Helper()
	p, err := login.New(w.at)
	if err != nil {
		w.Fatal(err)
	}
	defer p.Close()
	return p.Login(ctx, w.keeper(), "codex", "me", person)
}

func (w *world) loggedIn() {
	w.Helper()
	if err := w.login(w.Context(), func(o login.Offer) { w.issuer.Approve(o.Code) }); err != nil {
		w.Fatal(err)
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

// A flow that was released meanwhile gives nobody tokens; nor does one that its person left.
func TestALoginThatIsGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	err := w.login(t.Context(), func(o login.Offer) {
		if _, err := w.keeper().Logins.Release(t.Context(), "codex", w.at.Issuer); err != nil {
			t.Error(err)
		}
		w.issuer.Approve(o.Code)
	})
	if !errors.Is(err, store.ErrConflict) {
		t.Errorf("released: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if err := w.login(ctx, func(login.Offer) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("left: %v", err)
	}
	_, _, err = w.node()(t.Context(), egress.LoginToken, "")
	w.denied(err, "nobody has logged in")
	w.issuer.Trouble(1)
	if err := w.login(t.Context(), func(o login.Offer) { w.issuer.Approve(o.Code) }); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("trouble: %v", err)
	}
}
