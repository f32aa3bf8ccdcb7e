package sql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// migrationLock is the advisory lock under which one instance migrates.
const migrationLock = 0x66616972776179 // "fairway"

// postgresEngine is a pool of connections, each with a cache of prepared
// statements.
type postgresEngine struct {
	pool *pgxpool.Pool
	// behind is the pool of the replica, or pool where there is none.
	behind *pgxpool.Pool
}

func openPostgres(ctx context.Context, c Config) (*postgresEngine, error) {
	pool, err := openPool(ctx, c.URL, c)
	if err != nil {
		return nil, err
	}
	e := &postgresEngine{pool: pool, behind: pool}
	if c.ReplicaURL == "" {
		return e, nil
	}
	// It need not be there: see DB.list.
	if e.behind, err = newPool(ctx, c.ReplicaURL, c); err != nil {
		pool.Close()
		return nil, fmt.Errorf("replica: %w", err)
	}
	return e, nil
}

// openPool returns a pool of a server that answers.
func openPool(ctx context.Context, url string, c Config) (*pgxpool.Pool, error) {
	pool, err := newPool(ctx, url, c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout+time.Second)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connecting: %w", err)
	}
	return pool, nil
}

func newPool(ctx context.Context, url string, c Config) (*pgxpool.Pool, error) {
	pc, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	pc.MaxConns = int32(c.MaxConns) //nolint:gosec // bounded by Config.check
	pc.MaxConnIdleTime = c.IdleTimeout
	pc.ConnConfig.ConnectTimeout = c.ConnectTimeout
	pc.ConnConfig.RuntimeParams["application_name"] = "fairway-users"
	if c.Traces != nil {
		pc.ConnConfig.Tracer = newQueryTracer(c.Traces)
	}
	return pgxpool.NewWithConfig(ctx, pc)
}

func (e *postgresEngine) reader() querier  { return pgConn{e.pool} }
func (e *postgresEngine) replica() querier { return pgConn{e.behind} }

// txTries is how often a transaction is tried that the server broke off since two
// waited for each other.
const txTries = 4

func (e *postgresEngine) inTx(ctx context.Context, fn func(Tx) error) error {
	begin := func() error {
		return pgx.BeginFunc(ctx, e.pool, func(tx pgx.Tx) error { return fn(Tx{querier: pgConn{tx}, Postgres: tx}) })
	}
	err := begin()
	for n := 1; n < txTries && isCollision(err); n++ {
		err = begin()
	}
	return err
}

// isCollision reports whether a transaction may succeed if it is tried again:
// deadlock_detected, serialization_failure.
func isCollision(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && (pe.Code == "40P01" || pe.Code == "40001")
}

// settle has nothing to wait for: a commit is seen by others when it is on the disk.
func (e *postgresEngine) settle() error { return nil }

func (e *postgresEngine) ping(ctx context.Context) error { return e.pool.Ping(ctx) }

// migrate holds an advisory lock on a connection of its own; the server lets go
// of it when that connection ends, however that comes about.
func (e *postgresEngine) migrate(ctx context.Context) error {
	conn, err := pgx.ConnectConfig(ctx, e.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("waiting for another instance to migrate: %w", err)
	}
	db := stdlib.OpenDBFromPool(e.pool)
	defer db.Close()
	if err := migrateUp(ctx, goose.DialectPostgres, db); err != nil {
		return err
	}
	return migrateJobs(ctx, riverpgxv5.New(e.pool))
}

func (e *postgresEngine) forUpdate() string { return " FOR UPDATE" }

func (e *postgresEngine) isDuplicate(err error) bool {
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23505" // unique_violation
}

// isAway knows a failed connection, one that broke, and the classes of SQLSTATE
// for a server that shuts down or starts (57P), a broken connection (08) and too
// many of them (53300). On a standby, 40001 is a conflict with what it replays.
func (e *postgresEngine) isAway(err error) bool {
	var connect *pgconn.ConnectError
	var pe *pgconn.PgError
	var network net.Error
	switch {
	case errors.As(err, &connect):
		return true
	case errors.As(err, &pe):
		return strings.HasPrefix(pe.Code, "57P") || strings.HasPrefix(pe.Code, "08") || pe.Code == "53300" || pe.Code == "40001"
	case errors.As(err, &network):
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

func (e *postgresEngine) close() {
	e.behind.Close() // closing a pool twice does nothing
	e.pool.Close()
}

// pgConn is a querier on a pool or a transaction.
type pgConn struct {
	c interface {
		Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
		Query(context.Context, string, ...any) (pgx.Rows, error)
	}
}

func (p pgConn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := p.c.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (p pgConn) query(ctx context.Context, query string, args ...any) (rows, error) {
	return p.c.Query(ctx, query, args...)
}

var _ engine = (*postgresEngine)(nil)
