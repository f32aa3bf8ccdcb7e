package sql

import (
	"context"
	"database/sql"
	"strings"
	"sync"
)

// How many statements a pool keeps parsed, and how long they may be. All of ours
// find room, with lists of every length and every combination of filters; what
// seeding inserts is longer.
const (
	maxStatements = 256
	maxStatement  = 2048
)

// statements keeps SQLite's statements parsed: each is parsed once by each
// connection, not at each use. PostgreSQL's driver does the same by itself. It is
// safe for concurrent use.
type statements struct {
	db     *sql.DB
	mu     sync.Mutex
	parsed map[string]*sql.Stmt
	wanted map[string]bool // met in a transaction, for learn
}

func newStatements(db *sql.DB) *statements {
	return &statements{db: db, parsed: map[string]*sql.Stmt{}, wanted: map[string]bool{}}
}

// find returns the parsed statement, nil if there is none. room says whether it
// may be kept.
func (s *statements) find(query string) (stmt *sql.Stmt, room bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.parsed[query], len(query) <= maxStatement && len(s.parsed)+len(s.wanted) < maxStatements
}

// pooled returns the parsed statement, which any connection of the pool may run,
// or nil if it is to be run as it is: then its error is found there, too.
func (s *statements) pooled(ctx context.Context, query string) *sql.Stmt {
	stmt, room := s.find(query)
	if stmt != nil || !room {
		return stmt
	}
	stmt, err := s.db.PrepareContext(ctx, numbered(query))
	if err != nil {
		return nil
	}
	return s.keep(query, stmt)
}

// keep returns the statement to use: if two parse it at once, that of the first.
func (s *statements) keep(query string, stmt *sql.Stmt) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.parsed[query]; first != nil {
		_ = stmt.Close()
		return first
	}
	s.parsed[query] = stmt
	return stmt
}

// within returns the parsed statement for a transaction, or nil. The transaction
// has the only connection: what it lacks is parsed when it is over.
func (s *statements) within(ctx context.Context, tx *sql.Tx, query string) *sql.Stmt {
	stmt, room := s.find(query)
	if stmt != nil {
		return tx.StmtContext(ctx, stmt)
	}
	if room {
		s.mu.Lock()
		s.wanted[query] = true
		s.mu.Unlock()
	}
	return nil
}

// learn parses what transactions have wanted.
func (s *statements) learn(ctx context.Context) {
	s.mu.Lock()
	wanted := s.wanted
	if len(wanted) > 0 {
		s.wanted = map[string]bool{}
	}
	s.mu.Unlock()
	for query := range wanted {
		if stmt, err := s.db.PrepareContext(ctx, numbered(query)); err == nil {
			s.keep(query, stmt)
		}
	}
}

// sqliteConn is a querier on a *sql.DB or a *sql.Tx.
type sqliteConn struct {
	c interface {
		ExecContext(context.Context, string, ...any) (sql.Result, error)
		QueryContext(context.Context, string, ...any) (*sql.Rows, error)
	}
	// parsed returns a statement that is parsed already, or nil.
	parsed func(ctx context.Context, query string) *sql.Stmt
}

func (s sqliteConn) exec(ctx context.Context, query string, args ...any) (int64, error) {
	var res sql.Result
	var err error
	if stmt := s.parsed(ctx, query); stmt != nil {
		res, err = stmt.ExecContext(ctx, args...)
	} else {
		res, err = s.c.ExecContext(ctx, numbered(query), args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s sqliteConn) query(ctx context.Context, query string, args ...any) (rows, error) {
	var rs *sql.Rows
	var err error
	if stmt := s.parsed(ctx, query); stmt != nil {
		rs, err = stmt.QueryContext(ctx, args...)
	} else {
		rs, err = s.c.QueryContext(ctx, numbered(query), args...)
	}
	if err != nil {
		return nil, err
	}
	return sqliteRows{rs}, nil
}

// numbered writes parameters SQLite's way: there $1 would be a name, ?1 is the
// first argument. No statement of ours has a dollar sign elsewhere.
func numbered(query string) string { return strings.ReplaceAll(query, "$", "?") }

type sqliteRows struct{ *sql.Rows }

func (r sqliteRows) Close() { _ = r.Rows.Close() }
