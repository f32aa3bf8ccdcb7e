package sql

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// avoidFor is how long lists read from the main server after the replica did not
// answer, before one asks it again.
const avoidFor = 5 * time.Second

// behind remembers whether the replica answers. It is safe for concurrent use.
type behind struct {
	log *slog.Logger
	// until is when the replica is asked again, in Unix nanoseconds; 0 while it
	// answers.
	until atomic.Int64
}

// list is read for what may be a moment old: it asks the replica if there is one.
// A replica that does not answer in half the time costs the list that half, and
// the lists after it nothing: the main server answers.
func (db *DB) list(ctx context.Context, fn func(context.Context, querier) error) error {
	if db.behind == nil || db.behind.avoided() {
		return db.read(ctx, fn)
	}
	return db.within(ctx, func(ctx context.Context) error {
		half, cancel := context.WithTimeout(ctx, db.timeout/2)
		defer cancel()
		err := fn(half, db.engine.replica())
		switch {
		case err == nil:
			db.behind.answered()
			return nil
		case half.Err() != nil && ctx.Err() == nil, db.engine.isAway(err):
			db.behind.avoid(err)
			return fn(ctx, db.engine.reader())
		}
		return err
	})
}

// avoided reports whether the replica is to be left alone.
func (b *behind) avoided() bool { return time.Now().UnixNano() < b.until.Load() }

func (b *behind) avoid(cause error) {
	if b.until.Swap(time.Now().Add(avoidFor).UnixNano()) == 0 {
		b.log.Warn("the replica does not answer: lists and exports read from the main server", "error", cause)
	}
}

func (b *behind) answered() {
	if b.until.Swap(0) != 0 {
		b.log.Info("the replica answers again")
	}
}

// Replica reports whether there is a replica, and whether it answered last time.
func (db *DB) Replica() (configured, up bool) {
	return db.behind != nil, db.behind != nil && db.behind.until.Load() == 0
}
