package sql

import (
	"context"
	"errors"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

// StartSession stores a login with its first refresh token, and forgets those
// sessions of the user that have expired. known is when, to the login's knowledge,
// the user's tokens were revoked: if they were again since it read the password, with
// a new password for instance, there is no session, and it fails with Unavailable.
func (db *DB) StartSession(ctx context.Context, s backend.Session, t backend.RefreshToken, known time.Time) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		revoked, err := one(ctx, q, column[int64], `SELECT tokens_revoked_at FROM users WHERE id = $1`+db.engine.forUpdate(), s.UserID)
		switch {
		case errors.Is(err, errNoRow):
			return notFound("user")
		case err != nil:
			return err
		case revoked != micros(known):
			return backend.Busy("the account", time.Second, errors.New("its tokens were revoked during a login"))
		}
		_, err = q.exec(ctx, `DELETE FROM sessions WHERE user_id = $1 AND expires_at <= $2`, s.UserID, micros(db.now()))
		if err != nil {
			return err
		}
		_, err = q.exec(ctx,
			`INSERT INTO sessions (id, user_id, user_agent, ip, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			s.ID, s.UserID, s.UserAgent, s.IP, micros(s.CreatedAt), micros(s.LastUsedAt), micros(s.ExpiresAt))
		if err != nil {
			return err
		}
		return insertRefreshToken(ctx, q, t)
	})
}

func insertRefreshToken(ctx context.Context, q querier, t backend.RefreshToken) error {
	_, err := q.exec(ctx,
		`INSERT INTO refresh_tokens (hash, session_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
		t.Hash, t.SessionID, micros(t.CreatedAt), micros(t.ExpiresAt))
	return err
}

// family is a refresh token together with the session it belongs to.
type family struct {
	tokenExpires int64
	usedAt       *int64
	revokedAt    *int64
	session      backend.Session
}

const selectFamily = `SELECT t.expires_at, t.used_at, s.id, s.user_id, s.created_at, s.expires_at, s.revoked_at
	FROM refresh_tokens t JOIN sessions s ON s.id = t.session_id WHERE t.hash = $1`

func scanFamily(r rows, f *family) error {
	var created, expires int64
	err := r.Scan(&f.tokenExpires, &f.usedAt, &f.session.ID, &f.session.UserID, &created, &expires, &f.revokedAt)
	f.session.CreatedAt, f.session.ExpiresAt = fromMicros(created), fromMicros(expires)
	return err
}

// ErrTokenReused says that a refresh token came a second time: somebody copied
// it. The session is revoked.
var ErrTokenReused = errors.New("a refresh token was used twice")

// RotateRefreshToken exchanges the token with the hash old for next, whose
// session and life it fills in: lifetime, but never beyond the session's end.
// A token that was exchanged longer than grace ago is a copy, and revokes its
// session (ErrTokenReused); within grace it is a client that did not receive
// its answer, or two of its requests at once. It returns whose session it is, as of
// the same transaction: who is told later of a revocation knows that it came later.
func (db *DB) RotateRefreshToken(ctx context.Context, old []byte, next *backend.RefreshToken, lifetime, grace time.Duration) (*Credentials, error) {
	var c Credentials
	var refused error
	err := db.write(ctx, func(ctx context.Context, q querier) (err error) {
		f, err := one(ctx, q, scanFamily, selectFamily, old)
		if errors.Is(err, errNoRow) {
			refused = backend.Fail(backend.Unauthenticated, "unknown refresh token")
			return nil
		}
		if err != nil {
			return err
		}
		now := db.now()
		if refused = f.check(now, grace); refused != nil {
			if errors.Is(refused, ErrTokenReused) {
				return revokeSession(ctx, q, f.session.ID, now)
			}
			return nil
		}
		next.SessionID, next.CreatedAt = f.session.ID, now
		next.ExpiresAt = earlier(now.Add(lifetime), f.session.ExpiresAt)
		if err := rotate(ctx, q, old, *next); err != nil {
			return err
		}
		c, err = one(ctx, q, scanCredentials, selectCredentials+`id = $1`, f.session.UserID)
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return nil, err
	}
	return &c, nil
}

func (f *family) check(now time.Time, grace time.Duration) error {
	switch {
	case f.revokedAt != nil:
		return backend.Fail(backend.Unauthenticated, "the session was revoked")
	case !now.Before(f.session.ExpiresAt), !now.Before(fromMicros(f.tokenExpires)):
		return backend.Fail(backend.Unauthenticated, "the refresh token has expired")
	case f.usedAt != nil && now.Sub(fromMicros(*f.usedAt)) > grace:
		return &backend.Error{Code: backend.Unauthenticated, Message: "the session was revoked", Err: ErrTokenReused}
	}
	return nil
}

// rotate keeps the used token until it would have expired, to recognize a copy.
func rotate(ctx context.Context, q querier, old []byte, next backend.RefreshToken) error {
	now := micros(next.CreatedAt)
	for _, step := range []struct {
		query string
		args  []any
	}{
		{`UPDATE refresh_tokens SET used_at = $1 WHERE hash = $2 AND used_at IS NULL`, []any{now, old}},
		{`UPDATE sessions SET last_used_at = $1 WHERE id = $2`, []any{now, next.SessionID}},
		{`DELETE FROM refresh_tokens WHERE session_id = $1 AND expires_at <= $2`, []any{next.SessionID, now}},
	} {
		if _, err := q.exec(ctx, step.query, step.args...); err != nil {
			return err
		}
	}
	return insertRefreshToken(ctx, q, next)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func revokeSession(ctx context.Context, q querier, id string, now time.Time) error {
	_, err := q.exec(ctx, `UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL`, micros(now), id)
	return err
}

// EndSession revokes the session that the refresh token with the given hash
// belongs to. A token that nobody has is no error: the session is as good as ended.
func (db *DB) EndSession(ctx context.Context, hash []byte) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		f, err := one(ctx, q, scanFamily, selectFamily, hash)
		if errors.Is(err, errNoRow) {
			return nil
		}
		if err != nil {
			return err
		}
		return revokeSession(ctx, q, f.session.ID, db.now())
	})
}

const sessionColumns = `id, user_id, user_agent, ip, created_at, last_used_at, expires_at, revoked_at`

func scanSession(r rows, s *backend.Session) error {
	var created, used, expires int64
	var revoked *int64
	err := r.Scan(&s.ID, &s.UserID, &s.UserAgent, &s.IP, &created, &used, &expires, &revoked)
	s.CreatedAt, s.LastUsedAt, s.ExpiresAt = fromMicros(created), fromMicros(used), fromMicros(expires)
	s.RevokedAt = fromNullMicros(revoked)
	return err
}

// Sessions returns a user's sessions that are neither revoked nor expired, the
// last used first.
func (db *DB) Sessions(ctx context.Context, user int64) ([]backend.Session, error) {
	var list []backend.Session
	err := db.read(ctx, func(ctx context.Context, q querier) (err error) {
		list, err = all(ctx, q, scanSession, `SELECT `+sessionColumns+` FROM sessions
			WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY last_used_at DESC, id`, user, micros(db.now()))
		return err
	})
	return list, err
}

// RevokeSession ends one session of a user.
func (db *DB) RevokeSession(ctx context.Context, user int64, id string) error {
	return db.write(ctx, func(ctx context.Context, q querier) error {
		n, err := q.exec(ctx, `UPDATE sessions SET revoked_at = $1 WHERE id = $2 AND user_id = $3 AND revoked_at IS NULL`,
			micros(db.now()), id, user)
		if err == nil && n == 0 {
			return notFound("session")
		}
		return err
	})
}

// RevokeEverything ends every session of a user and every access token issued
// until now.
func (db *DB) RevokeEverything(ctx context.Context, user int64) error {
	return db.writeTx(ctx, func(ctx context.Context, tx Tx) error { return db.revokeEverything(ctx, tx, user) })
}

func (db *DB) revokeEverything(ctx context.Context, tx Tx, user int64) error {
	// The user comes first: a login that is not over then sees it, or its session is seen.
	if err := db.revokeTokens(ctx, tx, user); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `UPDATE sessions SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL`, micros(db.now()), user)
	return err
}

// revokeTokens ends access tokens only. Tokens tell their time in whole seconds:
// those of the present one are ended as well, and later ones say a later one.
func (db *DB) revokeTokens(ctx context.Context, tx Tx, user int64) error {
	at := db.now().Truncate(time.Second)
	if _, err := tx.exec(ctx, `UPDATE users SET tokens_revoked_at = $1 WHERE id = $2`, micros(at), user); err != nil {
		return err
	}
	return db.tell(ctx, tx, backend.Event{Kind: backend.TokensRevoked, UserID: user, At: at})
}
