package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/egress"
)

const (
	early        = 5 * time.Minute // before its end an access token is renewed
	known        = time.Minute     // a value is used without looking whether it is still the one
	renewTimeout = 20 * time.Second
)

// Vault gives a profile the tokens of its login.
func Vault(c *store.Credentials, l egress.Login, profile string) egress.Vault {
	return func(ctx context.Context, field, stale string) (string, time.Time, error) {
		p, err := New(l)
		if err != nil {
			return "", time.Time{}, err
		}
		defer p.Close()
		return p.value(ctx, c, profile, field, stale)
	}
}

// value is a field of a login's tokens, and until when it may be used without asking again. One that is stale, or ends soon,
// is renewed first.
func (p *Provider) value(ctx context.Context, c *store.Credentials, profile, field, stale string) (string, time.Time, error) {
	found, err := c.Get(ctx, profile, p.issuer)
	if err != nil {
		return "", time.Time{}, needsPerson(err, profile)
	}
	t, expires, err := read(found)
	if err == nil && !t.good(expires, stale) {
		t, expires, err = p.renewed(ctx, c, profile, stale)
	}
	if err != nil {
		return "", time.Time{}, needsPerson(err, profile)
	}
	until := time.Now().Add(known)
	if !expires.IsZero() && expires.Before(until) {
		until = expires
	}
	switch {
	case field == egress.LoginAccount && t.Account == "":
		return "", time.Time{}, hostabi.Errorf(hostabi.EDENIED, "the login names no account")
	case field == egress.LoginAccount:
		return t.Account, until, nil
	}
	return t.Access, until, nil
}

func read(c store.Credential) (t tokens, expires time.Time, err error) {
	if c.ExpiresAt != nil {
		expires = *c.ExpiresAt
	}
	return t, expires, json.Unmarshal(c.Secret, &t)
}

// good reports whether the access token can be used: it is not the one that was found stale, and does not end soon.
func (t tokens) good(expires time.Time, stale string) bool {
	return t.Access != stale && (expires.IsZero() || time.Until(expires) > early)
}

// renewed renews the tokens unless another caller just has. A provider in trouble leaves a token that still holds.
func (p *Provider) renewed(ctx context.Context, c *store.Credentials, profile, stale string) (t tokens, expires time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	var refused *refusal
	err = c.Renew(ctx, profile, p.issuer, func(ctx context.Context, now store.Credential) ([]byte, time.Time, error) {
		if t, expires, err = read(now); err != nil || t.good(expires, stale) {
			return nil, expires, err
		}
		holds := t.Access != stale && time.Until(expires) > 0
		if now.Refused != nil {
			if holds {
				return nil, expires, nil
			}
			return nil, expires, &over{*now.Refused}
		}
		fresh, until, err := p.renew(ctx, t)
		switch {
		case err != nil && holds:
			errors.As(err, &refused)
			return nil, expires, nil
		case err != nil:
			errors.As(err, &refused)
			return nil, expires, fmt.Errorf("%s: %w", p.issuer, err)
		}
		t, expires = fresh, until
		secret, err := json.Marshal(t)
		return secret, expires, err
	})
	if refused != nil && refused.final() {
		reason := "the provider renews the login no more: " + refused.Error()
		if noted := c.Refuse(context.WithoutCancel(ctx), profile, p.issuer, reason); noted != nil || err == nil {
			return t, expires, noted
		}
		err = &over{reason}
	}
	return t, expires, err
}

// final reports whether asking again cannot help.
func (r *refusal) final() bool { return r.status == 400 || r.status == 401 || r.status == 403 }

// over is a login that is worth nothing any more.
type over struct{ reason string }

func (o *over) Error() string { return o.reason }

// needsPerson makes what only a new login can mend an error that the guest takes for good.
func needsPerson(err error, profile string) error {
	var ended *over
	switch {
	case errors.As(err, &ended), errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrSealed):
		return hostabi.Errorf(hostabi.EDENIED, "%v: run `worker login %s`", err, profile)
	}
	return err
}
