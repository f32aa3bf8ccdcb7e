package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/XSAM/otelsql"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/semaphore"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteEngine keeps one connection that writes, so that writers queue here
// instead of polling SQLite's lock, and a few that only read.
type sqliteEngine struct {
	path  string
	write *sql.DB
	read  *sql.DB
	// writing and reading are the statements of both.
	writing, reading *statements
	// turn is whose turn it is to write: first come, first served. The pool alone
	// serves those who wait in random order, and some of them wait for very long.
	turn *semaphore.Weighted
	// disk puts what was committed on the disk.
	disk *flusher
	// release gives up the exclusive use of the file.
	release func()
}

func openSQLite(ctx context.Context, c Config) (_ *sqliteEngine, err error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	path := filepath.Join(c.Dir, "users.db")
	e := &sqliteEngine{
		path: path, release: func() {}, turn: semaphore.NewWeighted(1),
		disk: newFlusher(func() error { return flushFile(path + "-wal") }),
	}
	if c.Exclusive {
		if e.release, err = lockFile(ctx, path+".serving", 0); err != nil {
			return nil, fmt.Errorf("another process serves %q: stop it first, or use PostgreSQL for several instances (%w)", path, err)
		}
	}
	defer func() {
		if err != nil {
			e.release()
		}
	}()
	if err := makePrivate(path); err != nil {
		return nil, err
	}
	// A commit appends to the log (WAL), which inTx then puts on the disk: SQLite
	// itself would do so for each commit (synchronous FULL) while the next one waits.
	e.write, err = openSQLiteFile(sqliteURI(path, "synchronous(NORMAL)")+"&_txlock=immediate", 1, c.Traces)
	if err != nil {
		return nil, err
	}
	e.read, err = openSQLiteFile(sqliteURI(path, "query_only(1)"), max(4, runtime.GOMAXPROCS(0)), c.Traces)
	if err != nil {
		return nil, err
	}
	e.writing, e.reading = newStatements(e.write), newStatements(e.read)
	if err := e.ping(ctx); err != nil {
		e.read.Close()
		e.write.Close()
		return nil, fmt.Errorf("opening the database file %q: %w", path, err)
	}
	return e, nil
}

// makePrivate makes the file, if there is none, for its owner only: it holds keys.
// SQLite's other files have its mode.
func makePrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("making the database file: %w", err)
	}
	return f.Close()
}

// openSQLiteFile returns a pool of the given size, which connects when it is asked.
func openSQLiteFile(uri string, size int, traces trace.TracerProvider) (db *sql.DB, err error) {
	if traces != nil {
		db, err = otelsql.Open("sqlite", uri, spanOptions(traces)...)
	} else {
		db, err = sql.Open("sqlite", uri)
	}
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

func sqliteURI(path string, pragmas ...string) string {
	uri := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=foreign_keys(1)"
	for _, p := range pragmas {
		uri += "&_pragma=" + p
	}
	return uri
}

func (e *sqliteEngine) reader() querier  { return sqliteConn{e.read, e.reading.pooled} }
func (e *sqliteEngine) replica() querier { return e.reader() }

// inTx returns when what was committed is on the disk, so that not even a power cut
// takes back an account. The next one writes meanwhile.
func (e *sqliteEngine) inTx(ctx context.Context, fn func(Tx) error) error {
	if err := e.commit(ctx, fn); err != nil {
		return err
	}
	return e.disk.wait()
}

func (e *sqliteEngine) settle() error { return e.disk.wait() }

func (e *sqliteEngine) commit(ctx context.Context, fn func(Tx) error) error {
	if err := e.turn.Acquire(ctx, 1); err != nil {
		return err
	}
	defer e.turn.Release(1)
	tx, err := e.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it says only that the commit came first
	parsed := func(ctx context.Context, query string) *sql.Stmt { return e.writing.within(ctx, tx, query) }
	if err := fn(Tx{querier: sqliteConn{tx, parsed}, SQLite: tx}); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	e.writing.learn(ctx)
	return nil
}

// ping opens the writing connection first: it is the one that makes the file.
func (e *sqliteEngine) ping(ctx context.Context) error {
	if err := e.write.PingContext(ctx); err != nil {
		return err
	}
	return e.read.PingContext(ctx)
}

func (e *sqliteEngine) migrate(ctx context.Context) error {
	unlock, err := lockFile(ctx, e.path+".lock", time.Minute)
	if err != nil {
		return fmt.Errorf("waiting for another process to migrate %q: %w", e.path, err)
	}
	defer unlock()
	if err := migrateUp(ctx, goose.DialectSQLite3, e.write); err != nil {
		return err
	}
	return migrateJobs(ctx, riversqlite.New(e.write))
}

// lockFile waits for the lock that is named by a file, which it makes: an
// exclusive transaction on a database of its own, so that the lock ends with this
// process however that ends.
func lockFile(ctx context.Context, path string, wait time.Duration) (unlock func(), err error) {
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=busy_timeout(%d)&_txlock=exclusive",
		(&url.URL{Path: path}).EscapedPath(), wait.Milliseconds()))
	if err != nil {
		return nil, err
	}
	tx, err := db.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		db.Close()
		return nil, err
	}
	return func() { _ = tx.Rollback(); _ = db.Close() }, nil
}

// forUpdate is nothing: there is one writer.
func (e *sqliteEngine) forUpdate() string { return "" }

func (e *sqliteEngine) isDuplicate(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE
}

// isAway knows the lock that another process holds for too long.
func (e *sqliteEngine) isAway(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && se.Code()&0xff == sqlite3.SQLITE_BUSY
}

func (e *sqliteEngine) close() {
	e.read.Close()
	e.write.Close()
	e.release()
}

var _ engine = (*sqliteEngine)(nil)
