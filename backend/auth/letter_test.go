package auth

import (
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/backend"
)

func TestVerifyEmail(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, c *clock) {
		u := register(t, s, "ada@example.com")
		token, err := s.VerifyToken(u)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if id, err := s.VerifyEmail(t.Context(), token); id != u.ID || err != nil {
				t.Errorf("VerifyEmail() = %d, %v", id, err)
			}
		}
		got, err := s.DB.User(t.Context(), u.ID)
		if err != nil || got.EmailVerifiedAt == nil || got.Version != 2 {
			t.Errorf("the user is %+v, %v, want it verified, in version 2", got, err)
		}
		other := "other@example.com"
		if _, err := s.DB.UpdateUser(t.Context(), u.ID, 0, backend.Patch{Email: backend.Change[string]{Set: true, Value: &other}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.VerifyEmail(t.Context(), token); backend.ErrorCode(err) != backend.Invalid {
			t.Errorf("the old address's token verifies the new one: %v", err)
		}
		c.advance(lives[verifyEmail] + time.Minute)
		if _, err := s.VerifyEmail(t.Context(), token); backend.ErrorCode(err) != backend.Invalid {
			t.Errorf("an expired token = %v", err)
		}
	})
}

// resetToken is what the letter to a user who forgot the password holds.
func resetToken(t *testing.T, s *Service, user int64) string {
	t.Helper()
	c, err := s.DB.CredentialsByID(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	token, err := s.ResetToken(c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestResetPassword_OnceAndThenEverywhereOut(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		u := register(t, s, "ada@example.com")
		tokens := login(t, s, "ada@example.com")
		token := resetToken(t, s, u.ID)
		if _, err := s.ResetPassword(t.Context(), token, "short"); backend.ErrorCode(err) != backend.Invalid {
			t.Errorf("a bad password = %v", err)
		}
		if id, err := s.ResetPassword(t.Context(), token, "a new password"); id != u.ID || err != nil {
			t.Fatalf("ResetPassword() = %d, %v", id, err)
		}
		if _, err := s.ResetPassword(t.Context(), token, "the thief's one"); backend.ErrorCode(err) != backend.Invalid {
			t.Errorf("the token works twice: %v", err)
		}
		if _, err := s.Login(t.Context(), "ada@example.com", password, Client{}); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("the old password works: %v", err)
		}
		if _, err := s.Authenticate(t.Context(), tokens.Access); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("the old access token works: %v", err)
		}
		if _, err := s.Refresh(t.Context(), tokens.Refresh); backend.ErrorCode(err) != backend.Unauthenticated {
			t.Errorf("the old session works: %v", err)
		}
		if _, err := s.Login(t.Context(), "ada@example.com", "a new password", Client{}); err != nil {
			t.Errorf("the new password = %v", err)
		}
	})
}

// Who reads the mail of an address that the user has left gets no account by it.
func TestResetPassword_NotByAnAddressOfBefore(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		u := register(t, s, "ada@example.com")
		token := resetToken(t, s, u.ID)
		other := "lovelace@example.com"
		if _, err := s.DB.UpdateUser(t.Context(), u.ID, 0, backend.Patch{Email: backend.Change[string]{Set: true, Value: &other}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.ResetPassword(t.Context(), token, "the thief's one"); backend.ErrorCode(err) != backend.Invalid {
			t.Errorf("ResetPassword() = %v, want a bad token", err)
		}
	})
}

// No token is good for what another kind is for.
func TestLetters_AreNotInterchangeable(t *testing.T) {
	eachDatabase(t, func(t *testing.T, s *Service, _ *clock) {
		u := register(t, s, "ada@example.com")
		access := login(t, s, "ada@example.com").Access
		c, err := s.DB.CredentialsByID(t.Context(), u.ID)
		if err != nil {
			t.Fatal(err)
		}
		verify, err1 := s.VerifyToken(u)
		reset, err2 := s.ResetToken(c)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for _, token := range []string{verify, reset} {
			if _, err := s.Authenticate(t.Context(), token); backend.ErrorCode(err) != backend.Unauthenticated {
				t.Errorf("a letter's token gives access: %v", err)
			}
		}
		for _, token := range []string{access, verify, "", "x.y.z"} {
			if _, err := s.ResetPassword(t.Context(), token, "a new password"); backend.ErrorCode(err) != backend.Invalid {
				t.Errorf("ResetPassword() with another token = %v", err)
			}
		}
		for _, token := range []string{access, reset, ""} {
			if _, err := s.VerifyEmail(t.Context(), token); backend.ErrorCode(err) != backend.Invalid {
				t.Errorf("VerifyEmail() with another token = %v", err)
			}
		}
	})
}
