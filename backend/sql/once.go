package sql

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

// onceFor is how long a request is recognized when it comes again.
const onceFor = 24 * time.Hour

// Once identifies a request that has its effect once, however often it is sent.
type Once struct {
	// Key is a hash of the client's key and of who the client is.
	Key []byte
	// Fingerprint is a hash of what is asked for.
	Fingerprint []byte
}

type onceRow struct {
	fingerprint []byte
	userID      *int64
	expires     int64
}

func scanOnce(r rows, o *onceRow) error { return r.Scan(&o.fingerprint, &o.userID, &o.expires) }

// Done returns the id of the user that the same request created before, 0 if
// there was none. It fails with Reused if the key came with another request.
func (db *DB) Done(ctx context.Context, o Once) (user int64, err error) {
	err = db.read(ctx, func(ctx context.Context, q querier) error {
		row, err := one(ctx, q, scanOnce, `SELECT fingerprint, user_id, expires_at FROM idempotency_keys WHERE key = $1`, o.Key)
		switch {
		case errors.Is(err, errNoRow) || err == nil && row.expires <= micros(db.now()):
			return nil
		case err != nil:
			return err
		case !bytes.Equal(row.fingerprint, o.Fingerprint):
			return backend.Fail(backend.Reused, "the idempotency key was used for another request")
		case row.userID != nil:
			user = *row.userID
		}
		return nil
	})
	return user, err
}

// errDone says that another transaction has had the request's effect.
var errDone = errors.New("the request was done before")

// claim takes the key for this transaction. A transaction that has taken it and
// not yet ended is waited for.
func (db *DB) claim(ctx context.Context, q querier, o Once) error {
	now := db.now()
	if _, err := q.exec(ctx, `DELETE FROM idempotency_keys WHERE expires_at <= $1`, micros(now)); err != nil {
		return err
	}
	n, err := q.exec(ctx,
		`INSERT INTO idempotency_keys (key, fingerprint, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		o.Key, o.Fingerprint, micros(now.Add(onceFor)))
	if err == nil && n == 0 {
		return errDone
	}
	return err
}

func done(ctx context.Context, q querier, o Once, user int64) error {
	_, err := q.exec(ctx, `UPDATE idempotency_keys SET user_id = $1 WHERE key = $2`, user, o.Key)
	return err
}
