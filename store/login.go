package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// Login is a login of a profile that somebody asked for.
type Login struct {
	ID              string     `db:"id" json:"id"`
	Profile         string     `db:"profile" json:"profile"`
	State           string     `db:"state" json:"state"`                                 // one of LoginAsked to LoginFailed
	Detail          *string    `db:"detail" json:"detail,omitempty"`                     // what is in the way, or why it ended so
	Provider        *string    `db:"provider" json:"provider,omitempty"`                 // from LoginOffered on
	VerificationURL *string    `db:"verification_url" json:"verification_url,omitempty"` // where the person goes
	UserCode        *string    `db:"user_code" json:"user_code,omitempty"`               // and what to type in there
	AskedAt         time.Time  `db:"asked_at" json:"asked_at"`
	ExpiresAt       time.Time  `db:"expires_at" json:"expires_at"`
	EndedAt         *time.Time `db:"ended_at" json:"ended_at,omitempty"`
	Flow            *string    `db:"flow" json:"flow,omitempty"` // key of its flow, in hex
}

// The states of a login.
const (
	LoginAsked     = "asked"
	LoginOffered   = "offered" // a person is to type in the code
	LoginDone      = "done"
	LoginDenied    = "denied"
	LoginExpired   = "expired"
	LoginCancelled = "cancelled"
	LoginFailed    = "failed"
)

// Ended reports whether nothing more will come of it.
func (l Login) Ended() bool { return !slices.Contains([]string{LoginAsked, LoginOffered}, l.State) }

// flow is the device flow of a login: the login's id stands for it.
func (l Login) flow(provider string) LoginFlow {
	return LoginFlow{Kind: LoginDevice, Code: l.ID, Target: l.Profile, Provider: provider}
}

const loginColumns = "id, profile, state, detail, provider, verification_url, user_code, asked_at, expires_at, ended_at, flow"

// StartLogin asks for a login of a profile and returns its id, or that of the one that is under way. ErrNotFound: no worker
// has served such a profile.
func (s *Store) StartLogin(ctx context.Context, profile string) (string, error) {
	return one(ctx, s, "start login", pgx.RowTo[string], "select towpath.login_start($1)", profile)
}

// Login gives a login. ErrNotFound: there is none, or it ended more than a day ago.
func (s *Store) Login(ctx context.Context, id string) (Login, error) {
	found, err := all(ctx, s, "get login", pgx.RowToStructByName[Login], "select "+loginColumns+" from towpath.logins where id = $1", id)
	if err == nil && len(found) == 0 {
		return Login{}, &Error{Op: "get login", Code: "TW404", Message: fmt.Sprintf("no login %q", id)}
	}
	if err != nil {
		return Login{}, err
	}
	return found[0], nil
}

// AskedLogins lists the logins that were asked for, the newest first.
func (s *Store) AskedLogins(ctx context.Context) ([]Login, error) {
	return all(ctx, s, "list logins", pgx.RowToStructByName[Login], "select "+loginColumns+" from towpath.logins order by asked_at desc, id")
}

// NoteLogin says what is in the way of a login that goes on.
func (s *Store) NoteLogin(ctx context.Context, id, detail string) error {
	return exec(ctx, s, "note login", "select towpath.login_note($1, $2)", id, detail)
}

// EndLogin ends a login without tokens: it is denied, expired, cancelled or failed. It is false when it has ended.
func (s *Store) EndLogin(ctx context.Context, id, outcome, detail string) (bool, error) {
	return one(ctx, s, "end login", pgx.RowTo[bool], "select towpath.login_end($1, $2, $3)", id, outcome, detail)
}

// CancelLogin ends the login of a profile that is under way; false when there is none.
func (s *Store) CancelLogin(ctx context.Context, profile, reason string) (bool, error) {
	return one(ctx, s, "cancel login", pgx.RowTo[bool], "select towpath.login_cancel($1, $2)", profile, reason)
}

// Offer begins the device flow of a login, with its secret, and shows where the person goes and the code to type in there.
// ErrConflict: it has ended, or another node was first. ErrLimit: too many flows are under way.
func (l *Logins) Offer(ctx context.Context, login Login, provider string, secret []byte, verificationURL, userCode string) error {
	return exec(ctx, l.store, "offer login", "select towpath.login_offered($1, $2, $3, $4, $5, $6)",
		login.ID, l.seal.Name(login.ID), provider, l.seal.Seal(secret, login.flow(provider).row()), verificationURL, userCode)
}

// Knows reports whether a login's flow was begun under our keys.
func (l *Logins) Knows(login Login) bool {
	return login.Flow != nil && *login.Flow == hex.EncodeToString(l.seal.Name(login.ID))
}

// Done ends a login well: its flow is consumed by its poller, and what it ended with is kept, both or neither. A zero
// expires is unknown. ErrConflict: it has ended otherwise, or another polls it.
func (l *Logins) Done(ctx context.Context, login Login, holder string, credential []byte, expires time.Time) error {
	return exec(ctx, l.store, "end login", "select towpath.login_done($1, $2, $3, $4)",
		login.ID, holder, l.seal.Seal(credential, credentialRow(login.Profile, *login.Provider)), orNil(expires))
}
