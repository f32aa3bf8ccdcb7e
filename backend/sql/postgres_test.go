package sql

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// Two transactions that take the same two rows in opposite order end both: the
// server breaks one off, and it is done again.
func TestPostgres_DeadlockIsTriedAgain(t *testing.T) {
	db := open(t, Config{URL: pgtest.Database(t)})
	a, b := createUser(t, db, "a@example.com"), createUser(t, db, "b@example.com")
	var wait, met sync.WaitGroup
	met.Add(2)
	for _, order := range [][2]int64{{a.ID, b.ID}, {b.ID, a.ID}} {
		first := sync.OnceFunc(func() { met.Done(); met.Wait() }) // the second try does not wait
		wait.Go(func() {
			err := db.write(t.Context(), func(ctx context.Context, q querier) error {
				for i, id := range order {
					if i == 1 {
						first()
					}
					if _, err := q.exec(ctx, `UPDATE users SET age = COALESCE(age, 0) + 1 WHERE id = $1`, id); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Errorf("a transaction = %v", err)
			}
		})
	}
	wait.Wait()
	for _, id := range []int64{a.ID, b.ID} {
		if u, err := db.User(t.Context(), id); err != nil || u.Age == nil || *u.Age != 2 {
			t.Errorf("User(%d) = %+v, %v, want both changes", id, u, err)
		}
	}
}

// Logins that wait for each other, as those from one address do, leave the pool to
// everybody else.
func TestTry_LeavesThePoolToOthers(t *testing.T) {
	conf := Config{URL: pgtest.Database(t), MaxConns: 4, QueryTimeout: 2 * time.Second}
	db := open(t, conf)
	ada := createUser(t, db, "ada@example.com")
	tries := Tries{Key: []byte("one address"), Limit: 1000}
	held, release := make(chan struct{}), make(chan struct{})
	go func() {
		_ = db.counting(t.Context(), func(ctx context.Context, q querier) error {
			_, err := q.exec(ctx, `INSERT INTO login_failures (key, failures, since) VALUES ($1, 1, $2)`, tries.Key, micros(time.Now()))
			close(held)
			<-release
			return err
		})
	}()
	<-held
	var logins sync.WaitGroup
	for range 20 {
		logins.Go(func() { _ = db.Try(t.Context(), time.Minute, tries) })
	}
	begun := time.Now()
	for range 10 {
		if _, err := db.User(t.Context(), ada.ID); err != nil {
			t.Fatalf("reading meanwhile: %v", err)
		}
	}
	if took := time.Since(begun); took > 1900*time.Millisecond {
		t.Errorf("ten reads took %s, as long as logins may wait", took)
	}
	close(release)
	logins.Wait()
}

// The pool is as the documentation says, and statements are prepared once for each
// of its connections.
func TestPostgres_PoolAndPreparedStatements(t *testing.T) {
	url := pgtest.Database(t)
	c := open(t, Config{URL: url}).Postgres().Config()
	if c.MaxConns != 20 || c.MaxConnIdleTime != 30*time.Second || c.ConnConfig.ConnectTimeout != 2*time.Second {
		t.Errorf("by default: %d connections, idle %s, connecting %s", c.MaxConns, c.MaxConnIdleTime, c.ConnConfig.ConnectTimeout)
	}
	db := open(t, Config{URL: url, MaxConns: 1, IdleTimeout: time.Second, ConnectTimeout: 3 * time.Second})
	if c := db.Postgres().Config(); c.MaxConns != 1 || c.MaxConnIdleTime != time.Second || c.ConnConfig.ConnectTimeout != 3*time.Second {
		t.Errorf("configured: %d connections, idle %s, connecting %s", c.MaxConns, c.MaxConnIdleTime, c.ConnConfig.ConnectTimeout)
	}
	ada := createUser(t, db, "ada@example.com")
	for range 3 {
		if _, err := db.User(t.Context(), ada.ID); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	err := db.Postgres().QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%FROM users WHERE id = $1'`).Scan(&n)
	if err != nil || n != 1 {
		t.Errorf("the statement is prepared %d times, %v, want once", n, err)
	}
}
