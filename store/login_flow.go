package store

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Logins keeps the logins that are under way, for all nodes that share a key. The database sees neither a state or device
// code nor a secret.
type Logins struct {
	store *Store
	seal  *Sealer
}

// Logins are the login flows of the database under the sealer's keys.
func (s *Store) Logins(seal *Sealer) *Logins { return &Logins{s, seal} }

// The kinds of login flows.
const (
	LoginBrowser = "browser" // Code is the state that comes back; RedirectURI is where
	LoginDevice  = "device"  // Code is the device code
)

// LoginFlow names a login flow.
type LoginFlow struct {
	Kind        string
	Code        string
	Target      string // what the credential is for
	Provider    string
	RedirectURI string // of a browser flow
}

// row is what a secret is bound to: it cannot be moved to another flow.
func (l LoginFlow) row() []byte {
	return bytes.Join([][]byte{[]byte(l.Kind), []byte(l.Target), []byte(l.Provider), []byte(l.Code)}, []byte{0})
}

// Admit records that a login has begun, with its secret, such as a PKCE verifier. It is false when that is recorded
// already, and then stays. ErrLimit: capacity flows are under way. ErrConflict: it was consumed, or is another's.
func (l *Logins) Admit(ctx context.Context, login LoginFlow, secret []byte, ttl time.Duration, capacity int) (bool, error) {
	return one(ctx, l.store, "admit login", pgx.RowTo[bool], "select towpath.login_admit($1, $2, $3, $4, nullif($5, ''), $6, $7, $8)",
		login.Kind, l.seal.Name(login.Code), login.Target, login.Provider, login.RedirectURI, l.seal.Seal(secret, login.row()), ttl, capacity)
}

// Polled is a device flow to poll.
type Polled struct {
	Target    string    `db:"target"`
	Provider  string    `db:"provider"`
	Secret    []byte    `db:"secret"`
	ExpiresAt time.Time `db:"expires_at"`
}

// Poll takes a device flow to poll its provider, for hold, under a holder's name. ErrConflict: somebody else is at it, or
// it was consumed. ErrNotFound: there is none, or it has expired.
func (l *Logins) Poll(ctx context.Context, code, holder string, hold time.Duration) (Polled, error) {
	p, err := one(ctx, l.store, "poll login", pgx.RowToStructByName[Polled], "select * from towpath.login_poll($1, $2, $3)", l.seal.Name(code), holder, hold)
	if err == nil {
		p.Secret, err = l.seal.Open(p.Secret, LoginFlow{Kind: LoginDevice, Code: code, Target: p.Target, Provider: p.Provider}.row())
	}
	return p, wrap("poll login", err)
}

// Unpoll lets others poll a device flow. It is false when another holds it.
func (l *Logins) Unpoll(ctx context.Context, code, holder string) (bool, error) {
	return one(ctx, l.store, "unpoll login", pgx.RowTo[bool], "select towpath.login_unpoll($1, $2)", l.seal.Name(code), holder)
}

// Consume ends a login flow and returns its secret, to one caller ever. holder is who polls it, "" for a browser flow.
// ErrNotFound: there is none, or it has expired. ErrConflict: it was consumed, somebody else polls it, or provider, target
// or redirect URI differ: Error.Field names which.
func (l *Logins) Consume(ctx context.Context, login LoginFlow, holder string) ([]byte, error) {
	sealed, err := one(ctx, l.store, "consume login", pgx.RowTo[[]byte], "select towpath.login_consume($1, $2, $3, $4, nullif($5, ''), nullif($6, ''))",
		login.Kind, l.seal.Name(login.Code), login.Target, login.Provider, login.RedirectURI, holder)
	if err != nil {
		return nil, err
	}
	secret, err := l.seal.Open(sealed, login.row())
	return secret, wrap("consume login", err)
}

// Release ends all login flows for a credential that is given up, and returns how many there were.
func (l *Logins) Release(ctx context.Context, target, provider string) (int, error) {
	return one(ctx, l.store, "release logins", pgx.RowTo[int], "select towpath.login_release($1, $2)", target, provider)
}

// ListedLogin is a login flow as anybody may see it.
type ListedLogin struct {
	Kind       string     `db:"kind" json:"kind"`
	Target     string     `db:"target" json:"target"`
	Provider   string     `db:"provider" json:"provider"`
	Poller     *string    `db:"poller" json:"poller,omitempty"`
	SealedWith *string    `db:"sealed_with" json:"sealed_with,omitempty"` // id of the key; nil once it is spent
	CreatedAt  time.Time  `db:"created_at" json:"created_at"`
	ExpiresAt  time.Time  `db:"expires_at" json:"expires_at"`
	SpentAt    *time.Time `db:"spent_at" json:"spent_at,omitempty"`

	VerificationURL *string `db:"verification_url" json:"verification_url,omitempty"` // of a device: where to go
	UserCode        *string `db:"user_code" json:"user_code,omitempty"`               // what to type in there
}

// ListLogins lists the login flows, the newest first.
func (s *Store) ListLogins(ctx context.Context) ([]ListedLogin, error) {
	return all(ctx, s, "list logins", pgx.RowToStructByName[ListedLogin],
		"select kind, target, provider, poller, sealed_with, created_at, expires_at, spent_at, verification_url, user_code from towpath.login_flows order by created_at desc, key")
}
