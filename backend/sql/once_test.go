package sql

import (
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

func TestOnce_IsForgottenAfterADay(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		o := Once{Key: []byte("k"), Fingerprint: []byte("f")}
		id, replayed, err := db.CreateUserOnce(t.Context(), o, backend.NewUser{Email: "a@b.co", Name: "Ada"}, "hash")
		if err != nil || replayed {
			t.Fatalf("CreateUserOnce() = %d, %v, %v", id, replayed, err)
		}
		c.advance(onceFor - time.Second)
		if got, err := db.Done(t.Context(), o); got != id || err != nil {
			t.Errorf("Done() within a day = %d, %v, want %d", got, err, id)
		}
		if _, err := db.Done(t.Context(), Once{Key: o.Key, Fingerprint: []byte("g")}); backend.ErrorCode(err) != backend.Reused {
			t.Errorf("Done() of another request = %v, want reused", err)
		}
		c.advance(time.Second)
		if got, err := db.Done(t.Context(), o); got != 0 || err != nil {
			t.Errorf("Done() after a day = %d, %v, want 0", got, err)
		}
		other, replayed, err := db.CreateUserOnce(t.Context(), o, backend.NewUser{Email: "c@d.co", Name: "Ada"}, "hash")
		if err != nil || replayed || other == id {
			t.Errorf("CreateUserOnce() after a day = %d, %v, %v, want a new user", other, replayed, err)
		}
	})
}
