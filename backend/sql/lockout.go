package sql

import (
	"context"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

// Tries counts what is done for anybody who asks, logins above all, and shares a
// property, such as the account that is named.
type Tries struct {
	// Key is a hash of the property.
	Key []byte
	// Limit is how many there may be in a window before none is looked at.
	Limit int
}

type triesRow struct{ failures, since int64 }

func scanTries(r rows, t *triesRow) error { return r.Scan(&t.failures, &t.since) }

// loginShare is the part of the pool that the counting of logins may take. Those
// from one address count in one row and wait for each other there: without a bound
// they would wait in every connection, and everybody else with them.
const loginShare = 4

// counting runs fn in a transaction, few of its kind at once.
func (db *DB) counting(ctx context.Context, fn func(context.Context, querier) error) error {
	return db.within(ctx, func(ctx context.Context) error {
		select {
		case db.logins <- struct{}{}:
			defer func() { <-db.logins }()
		case <-ctx.Done():
			return ctx.Err()
		}
		return db.engine.inTx(ctx, func(tx Tx) error { return fn(ctx, tx) })
	})
}

// Try counts a try, as failed until SucceedLogin says otherwise, so that many at once
// are no more than one after the other. It fails with Throttled while a limit is
// reached; a try that is refused so is not counted. The window is one for all.
func (db *DB) Try(ctx context.Context, window time.Duration, tries ...Tries) error {
	return db.counting(ctx, func(ctx context.Context, q querier) error {
		now := db.now()
		if _, err := q.exec(ctx, `DELETE FROM login_failures WHERE since <= $1`, micros(now.Add(-window))); err != nil {
			return err
		}
		for _, t := range tries {
			row, err := one(ctx, q, scanTries,
				`INSERT INTO login_failures (key, failures, since) VALUES ($1, 1, $2)
				ON CONFLICT (key) DO UPDATE SET failures = login_failures.failures + 1 RETURNING failures, since`, t.Key, micros(now))
			if err != nil {
				return err
			}
			if row.failures > int64(t.Limit) { // the error takes the counting back
				return &backend.Error{
					Code: backend.Throttled, Message: "too many tries",
					RetryAfter: fromMicros(row.since).Add(window).Sub(now),
				}
			}
		}
		return nil
	})
}

// SucceedLogin takes back what Try counted, and forgets the earlier
// failures of those in forget, which have to come before tries in Try's
// order: two logins must not wait for each other.
func (db *DB) SucceedLogin(ctx context.Context, tries, forget []Tries) error {
	return db.counting(ctx, func(ctx context.Context, q querier) error {
		for _, t := range forget {
			if _, err := q.exec(ctx, `DELETE FROM login_failures WHERE key = $1`, t.Key); err != nil {
				return err
			}
		}
		for _, t := range tries {
			if _, err := q.exec(ctx, `UPDATE login_failures SET failures = failures - 1 WHERE key = $1`, t.Key); err != nil {
				return err
			}
		}
		return nil
	})
}
