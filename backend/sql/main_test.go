package sql

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// clock is a clock that tests set. It begins at a whole second.
type clock struct{ us atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.us.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return fromMicros(c.us.Load()) }
func (c *clock) advance(d time.Duration) { c.us.Add(d.Microseconds()) }

// eachDatabase runs a test on a fresh SQLite file and on a fresh PostgreSQL database.
func eachDatabase(t *testing.T, test func(t *testing.T, db *DB, c *clock)) {
	t.Helper()
	eachConfig(t, func(t *testing.T, conf Config) {
		c := newClock()
		conf.Now = c.now
		test(t, open(t, conf), c)
	})
}

func eachConfig(t *testing.T, test func(t *testing.T, c Config)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, Config{Dir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) { test(t, Config{URL: pgtest.Database(t)}) })
}

func open(t *testing.T, c Config) *DB {
	t.Helper()
	db, err := Open(t.Context(), c)
	if err != nil {
		t.Fatalf("Open() = %v", err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatalf("Migrate() = %v", err)
	}
	return db
}

// createUser stores a user with the given address.
func createUser(t *testing.T, db *DB, email string) *backend.User {
	t.Helper()
	n := backend.NewUser{Email: email, Name: "Ada", Role: backend.RoleUser, Plan: backend.PlanFree}
	u, err := db.CreateUser(t.Context(), n, "hash of "+email)
	if err != nil {
		t.Fatalf("CreateUser(%q) = %v", email, err)
	}
	return u
}

// counting counts the statements that an engine is given.
type counting struct {
	engine
	n atomic.Int64
}

func (c *counting) reader() querier  { return countingQuerier{c.engine.reader(), &c.n} }
func (c *counting) replica() querier { return countingQuerier{c.engine.replica(), &c.n} }

type countingQuerier struct {
	querier
	n *atomic.Int64
}

func (c countingQuerier) query(ctx context.Context, query string, args ...any) (rows, error) {
	c.n.Add(1)
	return c.querier.query(ctx, query, args...)
}
