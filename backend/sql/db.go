package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairway-gateway/fairway/backend"
)

// Config says which database to use and how. Zero values mean the defaults.
type Config struct {
	// URL is postgres://… for PostgreSQL. Empty means SQLite.
	URL string
	// ReplicaURL is a PostgreSQL server that lists and exports read from. Empty
	// means that the main one also reads.
	ReplicaURL string
	// Dir is the folder of the SQLite file, users.db. It is made if missing.
	Dir string
	// Exclusive refuses a SQLite file that another process has opened exclusively.
	// Those that do not ask for it may still open the file.
	Exclusive bool
	// MaxConns bounds the pool. Default: 20.
	MaxConns int
	// IdleTimeout closes a pooled connection that nobody used. Default: 30s.
	IdleTimeout time.Duration
	// ConnectTimeout bounds one attempt to connect. Default: 2s.
	ConnectTimeout time.Duration
	// QueryTimeout bounds a statement or a transaction, the wait for a free
	// connection included. Default: 5s.
	QueryTimeout time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Log is told when the replica goes away and when it is back. Default: nobody is.
	Log *slog.Logger
	// Traces makes a span of each statement that belongs to a traced request.
	// Nil: there are none.
	Traces trace.TracerProvider
}

func (c *Config) defaults() {
	def(&c.MaxConns, 20)
	def(&c.IdleTimeout, 30*time.Second)
	def(&c.ConnectTimeout, 2*time.Second)
	def(&c.QueryTimeout, 5*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (c *Config) check() error {
	switch {
	case c.MaxConns < 1 || c.MaxConns > 10_000:
		return fmt.Errorf("the pool must have from 1 to 10000 connections, got %d", c.MaxConns)
	case c.ReplicaURL != "" && c.URL == "":
		return errors.New("a replica needs a PostgreSQL database URL")
	case c.URL != "" && scheme(c.URL) != "postgres" && scheme(c.URL) != "postgresql":
		if given, _, ok := strings.Cut(c.URL, "://"); ok && !strings.ContainsAny(given, " =") {
			return fmt.Errorf("scheme %q is not postgres", given)
		}
		// Words such as "host=db password=…" are not shown.
		return errors.New("want postgres://user:password@host:5432/name")
	}
	return nil
}

func scheme(url string) string {
	s, _, _ := strings.Cut(url, ":")
	return s
}

// DB is the store. It is safe for concurrent use.
type DB struct {
	engine  engine
	timeout time.Duration
	now     func() time.Time
	outbox  Outbox
	behind  *behind       // nil: there is no replica
	logins  chan struct{} // those that count a login hold a place
}

// Outbox is told of an event within the transaction that brings it about, to
// note what is to be done once that has committed. Its error undoes the
// transaction.
type Outbox func(ctx context.Context, tx Tx, e backend.Event) error

// SetOutbox sets who is told of events. It must come before the first of them.
func (db *DB) SetOutbox(o Outbox) { db.outbox = o }

// tell passes an event to the outbox, if there is one.
func (db *DB) tell(ctx context.Context, tx Tx, e backend.Event) error {
	if db.outbox == nil {
		return nil
	}
	return db.outbox(ctx, tx, e)
}

// Load returns how many connections that can write are in use, and how many
// there can be.
func (db *DB) Load() (busy, most int) {
	if pool := db.Postgres(); pool != nil {
		return int(pool.Stat().AcquiredConns()), int(pool.Stat().MaxConns())
	}
	return db.SQLite().Stats().InUse, 1
}

// SQLite returns the connection that writes, or nil on PostgreSQL.
func (db *DB) SQLite() *sql.DB {
	if e, ok := db.engine.(*sqliteEngine); ok {
		return e.write
	}
	return nil
}

// Postgres returns the pool, or nil on SQLite.
func (db *DB) Postgres() *pgxpool.Pool {
	if e, ok := db.engine.(*postgresEngine); ok {
		return e.pool
	}
	return nil
}

// Open connects to the database that c names. Migrate has to follow.
func Open(ctx context.Context, c Config) (*DB, error) {
	c.defaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	var e engine
	var err error
	if c.URL != "" {
		e, err = openPostgres(ctx, c)
	} else {
		e, err = openSQLite(ctx, c)
	}
	if err != nil {
		return nil, err
	}
	db := &DB{engine: e, timeout: c.QueryTimeout, now: c.Now, logins: make(chan struct{}, max(1, c.MaxConns/loginShare))}
	if c.ReplicaURL != "" {
		db.behind = &behind{log: c.Log}
	}
	return db, nil
}

// Migrate brings the tables up to date. Of several instances that start at
// once, one migrates and the others wait.
func (db *DB) Migrate(ctx context.Context) error { return db.engine.migrate(ctx) }

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.engine.ping(ctx) }

// Close waits for running statements and closes every connection.
func (db *DB) Close() { db.engine.close() }

// read runs fn with the time that a query may take.
func (db *DB) read(ctx context.Context, fn func(context.Context, querier) error) error {
	return db.within(ctx, func(ctx context.Context) error { return fn(ctx, db.engine.reader()) })
}

// write runs fn in a transaction, with the time that a query may take.
func (db *DB) write(ctx context.Context, fn func(context.Context, querier) error) error {
	return db.writeTx(ctx, func(ctx context.Context, tx Tx) error { return fn(ctx, tx) })
}

// Transact runs fn in a transaction that is on the disk when Transact returns nil.
func (db *DB) Transact(ctx context.Context, fn func(context.Context, Tx) error) error {
	return db.writeTx(ctx, fn)
}

// Settle returns when everything that can be read now is on the disk, for those who
// tell others of it: no power cut may then take it back. On PostgreSQL nobody reads
// what is not.
func (db *DB) Settle() error { return db.engine.settle() }

// writeTx is write for those who let others join.
func (db *DB) writeTx(ctx context.Context, fn func(context.Context, Tx) error) error {
	return db.within(ctx, func(ctx context.Context) error {
		return db.engine.inTx(ctx, func(tx Tx) error { return fn(ctx, tx) })
	})
}

// within turns the end of the time, and a server that is away, into an answer:
// come back later.
func (db *DB) within(ctx context.Context, fn func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, db.timeout)
	defer cancel()
	err := fn(bounded)
	if err == nil || ctx.Err() != nil || backend.ErrorCode(err) != "" {
		return err
	}
	if bounded.Err() != nil || db.engine.isAway(err) {
		return backend.Busy("the database", time.Second, err)
	}
	return err
}
