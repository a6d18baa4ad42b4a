package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/towpath/towpath/store"
)

func (w *world) credentials(keys ...string) *store.Credentials {
	w.Helper()
	seal, err := store.NewSealer(strings.Join(keys, ","))
	w.ok(err)
	return w.store.Credentials(seal)
}

// A refresh token is good for one use: the second renewal waits, and sees what the first one got.
func TestARenewalWaitsForTheOneBeforeIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.credentials(store.NewSealKey())
	expires := time.Now().Add(time.Hour)
	w.ok(c.Put(t.Context(), "codex", "openai", []byte("token 0"), expires))
	began, second := make(chan string, 1), make(chan error, 1)
	w.ok(c.Renew(t.Context(), "codex", "openai", func(context.Context, store.Credential) ([]byte, time.Time, error) {
		go func() {
			second <- c.Renew(t.Context(), "codex", "openai", func(_ context.Context, found store.Credential) ([]byte, time.Time, error) {
				began <- string(found.Secret)
				return nil, time.Time{}, nil
			})
		}()
		for !get[bool](w, "select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock') from pg_sleep(0.005)") {
			select {
			case <-began:
				return nil, time.Time{}, errors.New("two renew at once")
			default:
			}
		}
		return []byte("token 1"), expires, nil
	}))
	w.ok(<-second)
	if token := <-began; token != "token 1" {
		t.Errorf("the second renewal saw %s", token)
	}
}

// Many renew one credential at once: each of them has it for itself, and all that are late find it renewed.
//
// feature: D103
func TestOneRenewsACredential(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := store.NewSealKey()
	nodes := []*store.Credentials{w.credentials(key), w.credentials(key)}
	_, err := nodes[0].Get(t.Context(), "codex", "openai")
	w.refused(err, store.ErrNotFound, "nobody has logged in to openai for codex")
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	w.ok(nodes[0].Put(t.Context(), "codex", "openai", []byte("token 0"), expires))
	w.ok(nodes[0].Put(t.Context(), "codex", "another", []byte("of another"), time.Time{}))
	inside, renewals := 0, 0 // the database's lock guards them; the race detector knows it by wg and mu alone
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			err := nodes[i%2].Renew(t.Context(), "codex", "openai", func(_ context.Context, c store.Credential) ([]byte, time.Time, error) {
				mu.Lock()
				inside++
				if inside != 1 {
					t.Errorf("%d renew at once", inside)
				}
				mu.Unlock()
				defer func() { mu.Lock(); inside--; mu.Unlock() }()
				if string(c.Secret) != "token 0" {
					return nil, time.Time{}, nil
				}
				mu.Lock()
				renewals++
				mu.Unlock()
				return []byte("token 1"), expires.Add(time.Hour), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if renewals != 1 {
		t.Errorf("%d renewals", renewals)
	}
	c, err := nodes[1].Get(t.Context(), "codex", "openai")
	w.ok(err)
	if string(c.Secret) != "token 1" || !c.ExpiresAt.Equal(expires.Add(time.Hour)) || c.Refused != nil {
		t.Errorf("%+v", c)
	}
	// A renewal that fails leaves what there was.
	boom := errors.New("boom")
	if err := nodes[0].Renew(t.Context(), "codex", "openai", func(context.Context, store.Credential) ([]byte, time.Time, error) {
		return []byte("lost"), time.Time{}, boom
	}); !errors.Is(err, boom) {
		t.Error(err)
	}
	if c, err := nodes[0].Get(t.Context(), "codex", "openai"); err != nil || string(c.Secret) != "token 1" {
		t.Errorf("%q, %v", c.Secret, err)
	}
	// What is refused says why until somebody logs in again.
	w.ok(nodes[0].Refuse(t.Context(), "codex", "openai", "logged out "+strings.Repeat("x", 2000)))
	c, err = nodes[0].Get(t.Context(), "codex", "openai")
	w.ok(err)
	if c.Refused == nil || !strings.HasPrefix(*c.Refused, "logged out x") || string(c.Secret) != "token 1" {
		t.Errorf("%+v", c)
	}
	if c, err := nodes[0].Get(t.Context(), "codex", "another"); err != nil || c.Refused != nil || c.ExpiresAt != nil || string(c.Secret) != "of another" {
		t.Errorf("%+v, %v", c, err)
	}
	w.ok(nodes[0].Put(t.Context(), "codex", "openai", []byte("token 2"), expires))
	if c, err := nodes[0].Get(t.Context(), "codex", "openai"); err != nil || c.Refused != nil || string(c.Secret) != "token 2" {
		t.Errorf("%+v, %v", c, err)
	}
	list, err := w.store.ListCredentials(t.Context())
	if err != nil || len(list) != 2 || list[0].Provider != "another" || list[1].Target != "codex" || len(list[1].SealedWith) != 8 {
		t.Errorf("%+v, %v", list, err)
	}
	for _, want := range []bool{true, false} {
		if gone, err := w.store.DropCredential(t.Context(), "codex", "openai"); err != nil || gone != want {
			t.Errorf("dropped %v, %v", gone, err)
		}
	}
	if n := get[int](w, "select count(*) from towpath.credential"); n != 1 {
		t.Errorf("%d are left", n)
	}
}

// What is in the database opens nothing, under another key or in another row.
//
// feature: D103 C24
func TestCredentialsAreEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := store.NewSealKey()
	mine := w.credentials(key)
	w.ok(mine.Put(t.Context(), "codex", "openai", []byte("very-private token"), time.Time{}))
	w.ok(mine.Put(t.Context(), "other", "openai", []byte("very-private token"), time.Time{}))
	if n := get[int](w, "select count(*) from towpath.credential c where position('very-private'::bytea in c.secret) > 0 or c::text like '%very-private%'"); n != 0 {
		t.Errorf("it is in %d rows", n)
	}
	if _, err := w.credentials(store.NewSealKey()).Get(t.Context(), "codex", "openai"); !errors.Is(err, store.ErrSealed) {
		t.Errorf("another key: %v", err)
	}
	w.exec("update towpath.credential set secret = (select secret from towpath.credential where target = 'other') where target = 'codex'")
	if _, err := mine.Get(t.Context(), "codex", "openai"); !errors.Is(err, store.ErrSealed) {
		t.Errorf("moved: %v", err)
	}
	const sealed = `'\x01' || sha256('a')`
	for i, c := range []struct{ says, sql string }{
		{"not encrypted", "select towpath.credential_put('t', 'p', null, null)"},
		{"not encrypted", "select towpath.credential_put('t', 'p', 'a token in the clear, as long as you like', null)"},
		{"target or provider", "select towpath.credential_put('', 'p', " + sealed + ", null)"},
		{"target or provider", "select towpath.credential_put('t', null, " + sealed + ", null)"},
		{"verification_url", "select towpath.login_offer(sha256('x'), null, 'A')"},
		{"user_code", "select towpath.login_offer(sha256('x'), 'http://x', '')"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) { w.deny("TW400", c.says, c.sql) })
	}
}

// A person sees where to go and what to type in, from when it is offered until the flow is removed.
//
// feature: D103
func TestADeviceLoginShowsItsCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.logins()
	offer := func(code, user string) error {
		_, err := w.pool.Exec(t.Context(), "select towpath.login_offer(key, 'https://x/device', $2) from (select coalesce((select key from towpath.login_flow where target = $1), sha256('none')) as key) f", code, user)
		return err
	}
	if err := offer("codex", "ABCD"); code(err) != "TW404" {
		t.Errorf("no flow: %v", err)
	}
	w.admit(l, device("d"))
	other := device("e")
	other.Target = "another"
	w.admit(l, other)
	w.ok(offer("codex", "ABCD"))
	if got := get[string](w, "select string_agg(coalesce(user_code || ' ' || verification_url, 'none'), ', ' order by user_code) from towpath.login_flows"); got != "ABCD https://x/device, none" {
		t.Error(got)
	}
	_, err := l.Consume(t.Context(), device("d"), "")
	w.ok(err)
	if err := offer("codex", "EFGH"); code(err) != "TW409" {
		t.Errorf("consumed: %v", err)
	}
}
