package sql

import (
	"context"
	"errors"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

func scanKey(r rows, k *backend.SigningKey) error {
	var created, changed int64
	err := r.Scan(&k.ID, &k.State, &k.Private, &created, &changed)
	k.CreatedAt, k.ChangedAt = fromMicros(created), fromMicros(changed)
	return err
}

// SigningKeys returns every key, the oldest first.
func (db *DB) SigningKeys(ctx context.Context) ([]backend.SigningKey, error) {
	var keys []backend.SigningKey
	err := db.read(ctx, func(ctx context.Context, q querier) (err error) {
		keys, err = signingKeys(ctx, q)
		return err
	})
	return keys, err
}

func signingKeys(ctx context.Context, q querier) ([]backend.SigningKey, error) {
	return all(ctx, q, scanKey, `SELECT id, state, private, created_at, changed_at FROM signing_keys ORDER BY created_at, id`)
}

// AddSigningKey stores k unless there is a key in its state already, which then
// stays: of two instances that start at once, one's key is used by both.
func (db *DB) AddSigningKey(ctx context.Context, k backend.SigningKey) error {
	return db.write(ctx, func(ctx context.Context, q querier) error { return addKey(ctx, q, k) })
}

func addKey(ctx context.Context, q querier, k backend.SigningKey) error {
	_, err := q.exec(ctx,
		`INSERT INTO signing_keys (id, state, private, created_at, changed_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
		k.ID, string(k.State), k.Private, micros(k.CreatedAt), micros(k.ChangedAt))
	return err
}

// RotateSigningKeys makes the next key active, the active one retired, and fresh,
// which has to be a next key, the next one. It removes keys that retired before
// forget, and returns the id of the key that now signs. It fails with Conflict if
// the next key became that later than published.
func (db *DB) RotateSigningKeys(ctx context.Context, fresh backend.SigningKey, published, forget time.Time) (active string, err error) {
	err = db.write(ctx, func(ctx context.Context, q querier) error {
		now := micros(db.now())
		// The active key is the lock: of two who rotate at once, the second finds
		// a next key that is too young.
		if _, err := q.exec(ctx, `UPDATE signing_keys SET state = 'retired', changed_at = $1 WHERE state = 'active'`, now); err != nil {
			return err
		}
		active, err = one(ctx, q, column[string],
			`UPDATE signing_keys SET state = 'active', changed_at = $1 WHERE state = 'next' AND changed_at <= $2 RETURNING id`,
			now, micros(published))
		if errors.Is(err, errNoRow) {
			return backend.Fail(backend.Conflict, "the next key was not published for long enough")
		}
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, `DELETE FROM signing_keys WHERE state = 'retired' AND changed_at < $1`, micros(forget))
		if err != nil {
			return err
		}
		return addKey(ctx, q, fresh)
	})
	return active, err
}
