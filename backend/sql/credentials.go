package sql

import (
	"context"
	"errors"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

// Credentials is what a login needs to know about a user.
type Credentials struct {
	backend.Principal
	Email        string
	Plan         backend.Plan
	PasswordHash string
	// TokensRevokedAt ends access tokens that were issued at it or before.
	TokensRevokedAt time.Time
}

const selectCredentials = `SELECT id, email, role, plan, password_hash, tokens_revoked_at FROM users WHERE `

func scanCredentials(r rows, c *Credentials) error {
	var from int64
	err := r.Scan(&c.ID, &c.Email, &c.Role, &c.Plan, &c.PasswordHash, &from)
	c.TokensRevokedAt = fromMicros(from)
	return err
}

// CredentialsByEmail returns the credentials of the user with the given address,
// which is in its normal form.
func (db *DB) CredentialsByEmail(ctx context.Context, email string) (*Credentials, error) {
	return db.credentials(ctx, selectCredentials+`email = $1`, email)
}

// CredentialsByID returns the credentials of the user with the given id.
func (db *DB) CredentialsByID(ctx context.Context, id int64) (*Credentials, error) {
	return db.credentials(ctx, selectCredentials+`id = $1`, id)
}

func (db *DB) credentials(ctx context.Context, query string, arg any) (*Credentials, error) {
	var c Credentials
	err := db.read(ctx, func(ctx context.Context, q querier) (err error) {
		c, err = one(ctx, q, scanCredentials, query, arg)
		return err
	})
	if errors.Is(err, errNoRow) {
		return nil, notFound("user")
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// SetPasswordHash replaces the hash of a user's password with one of the same
// password, unless it was changed since old was read.
func (db *DB) SetPasswordHash(ctx context.Context, id int64, old, hash string) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx, `UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3`, hash, id, old)
		return err
	})
}

// VerifyEmail notes that a user owns the given address, if it is still the
// user's and was not verified before.
func (db *DB) VerifyEmail(ctx context.Context, id int64, email string) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		_, err := q.exec(ctx,
			`UPDATE users SET email_verified_at = $1, updated_at = $1, version = version + 1
			WHERE id = $2 AND email = $3 AND email_verified_at IS NULL`, micros(db.now()), id, email)
		return err
	})
}

// ErrPasswordChanged says that somebody else changed a password first.
var ErrPasswordChanged = errors.New("the password was changed meanwhile")

// ReplacePassword stores the hash of a new password, if the old one is still the
// user's, and ends every session and every access token.
func (db *DB) ReplacePassword(ctx context.Context, id int64, old, hash string) error {
	return db.writeTx(ctx, func(ctx context.Context, tx Tx) error {
		n, err := tx.exec(ctx, `UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3`, hash, id, old)
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrPasswordChanged
		}
		return db.revokeEverything(ctx, tx, id)
	})
}
