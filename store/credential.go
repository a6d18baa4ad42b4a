package store

import (
	"bytes"
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Credentials keeps what logins ended with, for all nodes that share a key. The database sees no token.
type Credentials struct {
	store *Store
	seal  *Sealer
}

// Credentials are the credentials of the database under the sealer's keys.
func (s *Store) Credentials(seal *Sealer) *Credentials { return &Credentials{s, seal} }

// Credential is what a login ended with.
type Credential struct {
	Secret    []byte     `db:"secret"`
	ExpiresAt *time.Time `db:"expires_at"` // nil: unknown
	RenewedAt time.Time  `db:"renewed_at"`
	Refused   *string    `db:"refused"` // why the provider renews it no more
}

// credentialRow is what a secret is bound to.
func credentialRow(target, provider string) []byte {
	return bytes.Join([][]byte{[]byte("credential"), []byte(target), []byte(provider)}, []byte{0})
}

func (c *Credentials) open(found Credential, target, provider string) (Credential, error) {
	var err error
	found.Secret, err = c.seal.Open(found.Secret, credentialRow(target, provider))
	return found, wrap("get credential", err)
}

const (
	getCredential = "select * from towpath.credential_get($1, $2, $3)"
	putCredential = "select towpath.credential_put($1, $2, $3, $4)"
)

// Get gives a credential. ErrNotFound: nobody has logged in. ErrSealed: it was sealed with another key.
func (c *Credentials) Get(ctx context.Context, target, provider string) (Credential, error) {
	found, err := one(ctx, c.store, "get credential", pgx.RowToStructByName[Credential], getCredential, target, provider, false)
	if err != nil {
		return Credential{}, err
	}
	return c.open(found, target, provider)
}

// Put keeps a credential in place of what there was. A zero expires is unknown.
func (c *Credentials) Put(ctx context.Context, target, provider string, secret []byte, expires time.Time) error {
	return exec(ctx, c.store, "put credential", putCredential, target, provider, c.seal.Seal(secret, credentialRow(target, provider)), orNil(expires))
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Renew gives a credential to one caller of all nodes at a time and keeps what renew makes of it. renew may find that
// somebody else was faster and return no secret: then everything stays. While it runs, a connection of the pool is held.
func (c *Credentials) Renew(ctx context.Context, target, provider string, renew func(context.Context, Credential) (secret []byte, expires time.Time, err error)) error {
	return wrap("renew credential", c.renew(ctx, target, provider, renew))
}

func (c *Credentials) renew(ctx context.Context, target, provider string, renew func(context.Context, Credential) ([]byte, time.Time, error)) error {
	tx, err := c.store.pool.Begin(ctx)
	if err != nil {
		return err
	}
	// Once the provider has answered, the old token may be worth nothing: what it gave is kept, whoever lost patience.
	lasting := context.WithoutCancel(ctx)
	defer tx.Rollback(lasting)
	rows, err := tx.Query(ctx, getCredential, target, provider, true)
	if err != nil {
		return err
	}
	found, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[Credential])
	if err != nil {
		return err
	}
	if found, err = c.open(found, target, provider); err != nil {
		return err
	}
	secret, expires, err := renew(ctx, found)
	if err != nil || secret == nil {
		return err
	}
	if _, err := tx.Exec(lasting, putCredential, target, provider, c.seal.Seal(secret, credentialRow(target, provider)), orNil(expires)); err != nil {
		return err
	}
	return tx.Commit(lasting)
}

// Refuse notes why the provider renews a credential no more.
func (c *Credentials) Refuse(ctx context.Context, target, provider, reason string) error {
	return exec(ctx, c.store, "refuse credential", "select towpath.credential_refuse($1, $2, $3)", target, provider, reason)
}

// DropCredential forgets a credential; false when there is none.
func (s *Store) DropCredential(ctx context.Context, target, provider string) (bool, error) {
	return one(ctx, s, "drop credential", pgx.RowTo[bool], "select towpath.credential_drop($1, $2)", target, provider)
}

// ListedCredential is a credential as anybody may see it.
type ListedCredential struct {
	Target     string     `db:"target" json:"target"`
	Provider   string     `db:"provider" json:"provider"`
	CreatedAt  time.Time  `db:"created_at" json:"created_at"`
	RenewedAt  time.Time  `db:"renewed_at" json:"renewed_at"`
	ExpiresAt  *time.Time `db:"expires_at" json:"expires_at,omitempty"`
	Refused    *string    `db:"refused" json:"refused,omitempty"`
	SealedWith string     `db:"sealed_with" json:"sealed_with"` // id of the key
}

// ListCredentials lists the credentials, by target.
func (s *Store) ListCredentials(ctx context.Context) ([]ListedCredential, error) {
	return all(ctx, s, "list credentials", pgx.RowToStructByName[ListedCredential],
		"select target, provider, created_at, renewed_at, expires_at, refused, sealed_with from towpath.credentials order by target, provider")
}
