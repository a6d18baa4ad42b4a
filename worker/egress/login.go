package egress

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Login is where a profile's login is, as its permit file names it.
type Login struct {
	Issuer   string // a URL without a path, as in "https://auth.example.com"
	ClientID string
	Private  bool // the issuer may have a private address, and then plain http
}

// What a secret may be of a login.
const (
	LoginToken   = "access_token"
	LoginAccount = "account"
)

// Vault gives a field of a profile's login, and until when it may be used without asking again. A value that is stale, the
// server refused it, is renewed first. It may be called from any goroutine.
type Vault func(ctx context.Context, field, stale string) (value string, until time.Time, err error)

// Check reports what is wrong with a login.
func (l Login) Check() error {
	if l.ClientID == "" {
		return errors.New("client_id is missing")
	}
	if !strings.Contains(l.Issuer, "://") || len(l.Issuer) > 200 {
		return fmt.Errorf(`issuer %.200q: write a URL without a path, as in "https://auth.example.com"`, l.Issuer)
	}
	client, err := l.Client()
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	client.Close()
	return nil
}

// Client reaches the issuer and nobody else.
func (l Login) Client() (*Client, error) {
	return New(Config{Permits: []Permit{{Host: l.Issuer, Methods: []string{"POST"}, Private: l.Private, MaxResponse: 1 << 20, Timeout: commandTimeout, Idle: commandTimeout}}})
}

// Keep tells where the secrets that are of a login come from. Call it before the first Value.
func (s *Secrets) Keep(v Vault) { s.vault = v }

// Renew gives a secret's value after a server refused used, and whether it is another one. Only a login's can be.
func (s *Secrets) Renew(ctx context.Context, name, used string) (string, bool, error) {
	e := s.entries[name]
	if e == nil || e.source.Login == "" {
		return used, false, nil
	}
	if err := e.enter(ctx); err != nil {
		return "", false, err
	}
	defer e.leave()
	if e.loaded && e.value != used {
		return e.value, true, nil // somebody else was faster
	}
	value, until, err := s.vault.value(ctx, e.source.Login, used)
	if err == nil {
		err = checkLength(len(value))
	}
	if err != nil {
		e.loaded, e.value = false, ""
		return "", false, fmt.Errorf("secret %s: %w", name, err)
	}
	e.loaded, e.value, e.expires = true, value, until
	s.remember(name, value)
	return value, value != used, nil
}

func (v Vault) value(ctx context.Context, field, stale string) (string, time.Time, error) {
	if v == nil {
		return "", time.Time{}, errors.New("this worker keeps no logins: set TOWPATH_LOGIN_KEY, which `worker logins --new-key` makes, to the same on all nodes")
	}
	return v(ctx, field, stale)
}
