package sql

import (
	"errors"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

const (
	life  = 30 * 24 * time.Hour
	grace = 10 * time.Second
)

// startSession logs a user in and returns the hash of the first refresh token.
func startSession(t *testing.T, db *DB, c *clock, user int64) []byte {
	t.Helper()
	hash := []byte("token of " + t.Name() + c.now().String())
	s := backend.Session{ID: string(hash), UserID: user, CreatedAt: c.now(), LastUsedAt: c.now(), ExpiresAt: c.now().Add(3 * life)}
	err := db.StartSession(t.Context(), s, backend.RefreshToken{Hash: hash, SessionID: s.ID, CreatedAt: c.now(), ExpiresAt: c.now().Add(life)}, fromMicros(0))
	if err != nil {
		t.Fatalf("StartSession() = %v", err)
	}
	return hash
}

func refresh(db *DB, t *testing.T, old, next []byte) error {
	t.Helper()
	_, err := db.RotateRefreshToken(t.Context(), old, &backend.RefreshToken{Hash: next}, life, grace)
	return err
}

func TestRotate_OneAfterTheOther(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		first := startSession(t, db, c, u.ID)
		c.advance(time.Hour)
		next := backend.RefreshToken{Hash: []byte("second")}
		s, err := db.RotateRefreshToken(t.Context(), first, &next, life, grace)
		if err != nil {
			t.Fatal(err)
		}
		if s.ID != u.ID || next.SessionID != string(first) || !next.ExpiresAt.Equal(c.now().Add(life)) {
			t.Errorf("session %+v, token %+v: want the user's, for %v", *s, next, life)
		}
		if err := refresh(db, t, []byte("second"), []byte("third")); err != nil {
			t.Errorf("the successor = %v", err)
		}
	})
}

func TestRotate_CopyRevokesTheFamily(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		first := startSession(t, db, c, u.ID)
		if err := refresh(db, t, first, []byte("second")); err != nil {
			t.Fatal(err)
		}
		c.advance(grace)
		if err := refresh(db, t, first, []byte("again")); err != nil {
			t.Errorf("a lost answer, within the grace = %v", err)
		}
		c.advance(time.Microsecond)
		err := refresh(db, t, first, []byte("thief"))
		if !errors.Is(err, ErrTokenReused) || backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("a copy = %v, want it recognized", err)
		}
		for _, token := range []string{"second", "again"} {
			if err := refresh(db, t, []byte(token), []byte("x"+token)); backend.ErrorCode(err) != backend.Unauthenticated {
				t.Errorf("%q after that = %v, want it refused", token, err)
			}
		}
	})
}

func TestRotate_Refusals(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		if err := refresh(db, t, []byte("unknown"), []byte("x")); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("an unknown token = %v, want it refused", err)
		}
		idle := startSession(t, db, c, u.ID)
		c.advance(life)
		if err := refresh(db, t, idle, []byte("x")); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("an expired token = %v, want it refused", err)
		}
	})
}

func TestRotate_SessionEndsHoweverOftenRefreshed(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		token := startSession(t, db, c, u.ID)
		var err error
		for n := byte(0); n < 10 && err == nil; n++ {
			c.advance(life / 2)
			next := []byte{n}
			err = refresh(db, t, token, next)
			token = next
		}
		if backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("after five lives the session still refreshes: %v", err)
		}
	})
}

func TestEndSession(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		token := startSession(t, db, c, u.ID)
		for range 2 {
			if err := db.EndSession(t.Context(), token); err != nil {
				t.Errorf("EndSession() = %v", err)
			}
		}
		if err := refresh(db, t, token, []byte("x")); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("refresh after the end = %v, want it refused", err)
		}
		if err := db.EndSession(t.Context(), []byte("unknown")); err != nil {
			t.Errorf("EndSession() of nobody = %v", err)
		}
	})
}

func TestStartSession_ForgetsExpiredOnes(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		startSession(t, db, c, u.ID)
		c.advance(3 * life)
		startSession(t, db, c, u.ID)
		n, err := one(t.Context(), db.engine.reader(), column[int64], `SELECT COUNT(*) FROM sessions`)
		if err != nil || n != 1 {
			t.Errorf("there are %d sessions, %v, want 1", n, err)
		}
	})
}

// A login that has checked a password which is then replaced starts no session, and
// a refresh that comes before the revocation has a token from before it.
func TestStartSession_NotAfterARevocationThatItDoesNotKnow(t *testing.T) {
	eachDatabase(t, func(t *testing.T, db *DB, c *clock) {
		u := createUser(t, db, "ada@example.com")
		first := startSession(t, db, c, u.ID)
		known, err := db.RotateRefreshToken(t.Context(), first, &backend.RefreshToken{Hash: []byte("second")}, life, grace)
		if err != nil || known.ID != u.ID || known.PasswordHash != "hash of ada@example.com" {
			t.Fatalf("RotateRefreshToken() = %+v, %v", known, err)
		}
		if err := db.ReplacePassword(t.Context(), u.ID, known.PasswordHash, "another hash"); err != nil {
			t.Fatal(err)
		}
		s := backend.Session{ID: "late", UserID: u.ID, CreatedAt: c.now(), LastUsedAt: c.now(), ExpiresAt: c.now().Add(life)}
		token := backend.RefreshToken{Hash: []byte("late"), SessionID: s.ID, CreatedAt: c.now(), ExpiresAt: c.now().Add(life)}
		if err := db.StartSession(t.Context(), s, token, known.TokensRevokedAt); backend.ErrorCode(err) != backend.Unavailable {
			t.Errorf("StartSession() with the old password = %v, want that it has to come again", err)
		}
		if list, err := db.Sessions(t.Context(), u.ID); err != nil || len(list) != 0 {
			t.Errorf("Sessions() = %v, %v, want none", list, err)
		}
		now, err := db.CredentialsByID(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.StartSession(t.Context(), s, token, now.TokensRevokedAt); err != nil {
			t.Errorf("StartSession() with the new password = %v", err)
		}
		if err := db.DeleteUser(t.Context(), u.ID, 0); err != nil {
			t.Fatal(err)
		}
		if err := db.StartSession(t.Context(), s, token, now.TokensRevokedAt); backend.ErrorCode(err) != backend.NotFound {
			t.Errorf("StartSession() of nobody = %v", err)
		}
	})
}
