package sql

import (
	"context"
	"sync"
	"testing"

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
