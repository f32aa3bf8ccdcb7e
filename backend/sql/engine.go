package sql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/fairway-gateway/fairway/backend"
)

// querier runs statements: on a pool, or inside a transaction.
type querier interface {
	// exec returns the number of rows it changed.
	exec(ctx context.Context, query string, args ...any) (int64, error)
	query(ctx context.Context, query string, args ...any) (rows, error)
}

// rows is what both drivers offer of a result. Close may be called twice.
type rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
	Close()
}

// engine is one kind of database. Both kinds are safe for concurrent use.
type engine interface {
	// reader sees every commit, but may be unable to write.
	reader() querier
	// replica may be a moment behind.
	replica() querier
	// inTx commits if fn returns nil and rolls back otherwise. It may call fn
	// again, after a rollback.
	inTx(ctx context.Context, fn func(Tx) error) error
	// settle returns when everything that can be read now is on the disk.
	settle() error
	ping(ctx context.Context) error
	migrate(ctx context.Context) error
	// forUpdate is what ends a SELECT within a transaction that keeps others from
	// changing what it reads.
	forUpdate() string
	// isDuplicate reports whether err is a violated unique constraint.
	isDuplicate(err error) bool
	// isAway reports whether err says that the server cannot be reached, or has no
	// room, rather than anything about the statement.
	isAway(err error) bool
	close()
}

// Tx is a transaction of the store that others may join. One of SQLite and
// Postgres is set.
type Tx struct {
	querier
	SQLite   *sql.Tx
	Postgres pgx.Tx
}

// errNoRow is what one returns for an empty result.
var errNoRow = errors.New("no such row")

// all reads a whole result, one value a row.
func all[T any](ctx context.Context, q querier, scan func(rows, *T) error, query string, args ...any) ([]T, error) {
	rs, err := q.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rs.Close()
	var list []T
	for rs.Next() {
		var v T
		if err := scan(rs, &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, rs.Err()
}

// one reads the first row of a result, errNoRow if there is none.
func one[T any](ctx context.Context, q querier, scan func(rows, *T) error, query string, args ...any) (T, error) {
	list, err := all(ctx, q, scan, query, args...)
	if err == nil && len(list) == 0 {
		err = errNoRow
	}
	if err != nil {
		var none T
		return none, err
	}
	return list[0], nil
}

// column scans a result of one column.
func column[T any](r rows, v *T) error { return r.Scan(v) }

func notFound(what string) error { return backend.Fail(backend.NotFound, "no such "+what) }
