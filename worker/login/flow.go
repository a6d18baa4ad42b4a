package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/towpath/towpath/hostabi"
	"github.com/towpath/towpath/store"
	"github.com/towpath/towpath/worker/egress"
)

const (
	askTimeout = 20 * time.Second // of a question to the provider
	hold       = askTimeout + 10*time.Second
	patience   = 5 * time.Second // before a step is tried again
	maxSlower  = time.Minute
)

// Node takes logins on, step by step. It is safe for concurrent use.
type Node struct {
	ID    string // who polls
	Store *store.Store
	Seal  *store.Sealer // nil: this node keeps no logins
	// At is where a profile logs in, as its permits say.
	At func(ctx context.Context, profile string) (egress.Login, error)
}

// device is what is kept, sealed, between the steps of a login.
type device struct {
	ID       string        `json:"device_auth_id"`
	UserCode string        `json:"user_code"`
	Interval time.Duration `json:"interval"` // nanoseconds between polls
}

// Step takes a login one step on: it asks for a code, or asks once whether the person has been there, and keeps the tokens
// if so. It returns how long to wait before the next step; 0: the login has ended, well or not, as its row says. An error
// is the database's, or ctx has ended, and the same step may be taken again, on any node.
func (n Node) Step(ctx context.Context, id string) (time.Duration, error) {
	l, err := n.Store.Login(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return 0, nil // it ended long ago
	case err != nil:
		return 0, err
	case l.Ended():
		return 0, nil
	case n.Seal == nil:
		return 0, n.end(ctx, id, store.LoginFailed, fmt.Sprintf("worker %s keeps no logins: set TOWPATH_LOGIN_KEY, which `worker logins --new-key` makes, to the same on all nodes", n.ID))
	}
	at, err := n.At(ctx, l.Profile)
	if err != nil {
		return 0, n.end(ctx, id, store.LoginFailed, err.Error())
	}
	p, err := New(at)
	if err != nil {
		return 0, n.end(ctx, id, store.LoginFailed, err.Error())
	}
	defer p.Close()
	again, err := n.take(ctx, p, l)
	switch {
	case err == nil, ctx.Err() != nil:
	case errors.Is(err, store.ErrConflict): // it was cancelled, or another node is at it: the next step sees which
		return patience, nil
	case errors.Is(err, store.ErrNotFound): // it has expired
		return 0, n.end(ctx, id, store.LoginExpired, "nobody typed in the code in time")
	case errors.Is(err, store.ErrLimit):
		again, err = patience, n.Store.NoteLogin(ctx, id, err.Error())
	}
	return again, err
}

// take asks the provider what is to be asked next.
func (n Node) take(ctx context.Context, p *Provider, l store.Login) (time.Duration, error) {
	logins := n.Store.Logins(n.Seal)
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if l.UserCode == nil {
		o, err := p.offer(asking)
		if err != nil {
			return n.troubled(ctx, p, l, patience, err)
		}
		d := device{ID: o.deviceID, UserCode: o.Code, Interval: o.interval}
		secret, err := json.Marshal(d)
		if err != nil {
			return 0, err
		}
		return d.Interval, logins.Offer(ctx, l, p.issuer, secret, o.URL, o.Code)
	}
	var polled store.Polled
	err := store.ErrSealed
	if logins.Knows(l) {
		polled, err = logins.Poll(ctx, l.ID, n.ID, hold)
	}
	if errors.Is(err, store.ErrSealed) {
		return 0, n.end(ctx, l.ID, store.LoginFailed, fmt.Sprintf("worker %s has another TOWPATH_LOGIN_KEY than the one that began the login: set it to the same on all nodes", n.ID))
	}
	if err != nil {
		return 0, err
	}
	defer logins.Unpoll(context.WithoutCancel(ctx), l.ID, n.ID) // else it is held a little longer
	var d device
	if err := json.Unmarshal(polled.Secret, &d); err != nil {
		return 0, n.end(ctx, l.ID, store.LoginFailed, "what is kept of the login cannot be read")
	}
	t, expires, done, err := p.poll(asking, Offer{Code: d.UserCode, deviceID: d.ID})
	switch {
	case err != nil:
		return n.troubled(ctx, p, l, d.Interval, err)
	case !done && l.Detail != nil:
		return d.Interval, n.Store.NoteLogin(ctx, l.ID, "")
	case !done:
		return d.Interval, nil
	}
	secret, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	// The provider gives the tokens once: they are kept, whoever has lost patience.
	return 0, logins.Done(context.WithoutCancel(ctx), l, n.ID, secret, expires)
}

// troubled says what is in the way: trouble that may pass, or a refusal, which ends the login.
func (n Node) troubled(ctx context.Context, p *Provider, l store.Login, interval time.Duration, err error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	says := fmt.Sprintf("%s: %v", p.issuer, err)
	var (
		refused *refusal
		denied  *hostabi.Error
	)
	errors.As(err, &refused)
	switch {
	case refused != nil && refused.code == "slow_down":
		return min(interval+patience, maxSlower), nil
	case refused != nil && refused.code == "access_denied":
		return 0, n.end(ctx, l.ID, store.LoginDenied, says)
	case refused != nil && refused.code == "expired_token":
		return 0, n.end(ctx, l.ID, store.LoginExpired, says)
	case refused != nil && refused.status < 500 && refused.status != http.StatusTooManyRequests,
		errors.As(err, &denied) && denied.Code == hostabi.EDENIED:
		return 0, n.end(ctx, l.ID, store.LoginFailed, says)
	}
	return max(interval, patience), n.Store.NoteLogin(ctx, l.ID, says)
}

// end ends a login without tokens, unless somebody else has ended it meanwhile.
func (n Node) end(ctx context.Context, id, outcome, detail string) error {
	_, err := n.Store.EndLogin(ctx, id, outcome, detail)
	return err
}
