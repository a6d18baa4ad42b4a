package login

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/towpath/towpath/store"
)

const (
	patience    = 15 * time.Minute // for the person
	maxFlows    = 1024
	holdMargin  = 30 * time.Second // of a poll, beyond the time to the next one
	pollTimeout = 20 * time.Second
)

// Keeper is where logins and what they end with are kept.
type Keeper struct {
	Logins      *store.Logins
	Credentials *store.Credentials
}

// Login logs a profile in by device: it records the flow, shows what the person needs, polls until he has been there, and
// keeps the tokens. holder names who polls. It ends with ctx, after 15 minutes, or when the flow was released.
func (p *Provider) Login(ctx context.Context, k Keeper, profile, holder string, show func(Offer)) error {
	o, err := p.offer(ctx)
	if err != nil {
		return fmt.Errorf("login: %s: %w", p.issuer, err)
	}
	flow := store.Login{Kind: store.LoginDevice, Code: o.deviceID, Target: profile, Provider: p.issuer}
	secret, err := json.Marshal(map[string]string{"device_auth_id": o.deviceID, "user_code": o.Code})
	if err != nil {
		return err
	}
	if _, err := k.Logins.Admit(ctx, flow, secret, patience, maxFlows); err != nil {
		return err
	}
	if err := k.Logins.Offer(ctx, o.deviceID, o.URL, o.Code); err != nil {
		return err
	}
	show(o)
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			_, _ = k.Logins.Unpoll(context.WithoutCancel(ctx), o.deviceID, holder) // else it is held a little longer
			return context.Cause(ctx)
		}
		if _, err := k.Logins.Poll(ctx, o.deviceID, holder, o.interval+holdMargin); err != nil {
			return err
		}
		asking, cancel := context.WithTimeout(ctx, pollTimeout)
		t, expires, done, err := p.poll(asking, o)
		cancel()
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("login: %s: %w", p.issuer, err)
		}
		if !done {
			continue
		}
		// Whoever ends the flow has the tokens: one that was released meanwhile gives none.
		if _, err := k.Logins.Consume(ctx, flow, holder); err != nil {
			return err
		}
		return t.keep(ctx, k.Credentials, profile, p.issuer, expires)
	}
}

func (t tokens) keep(ctx context.Context, c *store.Credentials, profile, issuer string, expires time.Time) error {
	secret, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return c.Put(context.WithoutCancel(ctx), profile, issuer, secret, expires)
}
