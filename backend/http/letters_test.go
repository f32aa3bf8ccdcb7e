package http

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// posted remembers which letters were asked for.
type posted []string

func (p *posted) SendReset(_ context.Context, email string) error {
	*p = append(*p, "reset "+email)
	return nil
}

func (p *posted) SendVerification(_ context.Context, user int64) error {
	*p = append(*p, fmt.Sprintf("verify %d", user))
	return nil
}

func TestForgotPassword_DoesNotTellWhoExists(t *testing.T) {
	var p posted
	f := onSQLite(t, func(c *Config) { c.Letters = &p })
	f.register("ada@example.com")
	known := f.want(202, f.do("POST", "/api/auth/password/forgot", `{"email":"ADA@example.com"}`))
	unknown := f.want(202, f.do("POST", "/api/auth/password/forgot", `{"email":"eve@example.com"}`))
	if known.body != unknown.body || fmt.Sprint(known.Header) != fmt.Sprint(unknown.Header) {
		t.Errorf("the answers differ: %v %q, %v %q", known.Header, known.body, unknown.Header, unknown.body)
	}
	if got := strings.Join(p, ", "); got != "reset ada@example.com, reset eve@example.com" {
		t.Errorf("letters = %s", got)
	}
	if got := fields(f, f.do("POST", "/api/auth/password/forgot", `{"email":"Ada <ada@example.com>"}`)); got != "email" {
		t.Errorf("fields = %q", got)
	}
}

// Who asks too often is told so, whether or not somebody has the address, and the
// mails that are sent say nothing of it.
func TestForgotPassword_IsBounded(t *testing.T) {
	var p posted
	f := onSQLite(t, func(c *Config) { c.Letters = &p })
	f.register("ada@example.com")
	for _, email := range []string{"ada@example.com", "eve@example.com"} {
		for range 3 {
			f.want(202, f.do("POST", "/api/auth/password/forgot", `{"email":"`+email+`"}`))
		}
		a := f.want(429, f.do("POST", "/api/auth/password/forgot", `{"email":"`+email+`"}`))
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", email)
		}
	}
	if len(p) != 6 {
		t.Errorf("letters = %v, want three for each", p)
	}
}

func TestVerifyAndReset_OverHTTP(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		var p posted
		f.s.cfg.Letters = &p
		id, ada := f.register("ada@example.com")
		f.want(202, f.do("POST", "/api/users/me/verify-email", "", ada...))
		f.want(403, f.do("POST", "/api/users/999/verify-email", "", ada...))
		if got := strings.Join(p, ", "); got != fmt.Sprintf("verify %d", id) {
			f.t.Errorf("letters = %s", got)
		}
		u, err := f.db.User(f.t.Context(), id)
		if err != nil {
			f.t.Fatal(err)
		}
		token, err := f.s.auth.VerifyToken(u)
		if err != nil {
			f.t.Fatal(err)
		}
		a := f.want(204, f.do("POST", "/api/auth/verify-email", `{"token":"`+token+`"}`))
		if got := a.Header.Get("Cache-Group-Invalidation"); !strings.Contains(got, fmt.Sprintf(`"user-%d"`, id)) {
			f.t.Errorf("the user's pages stay in caches: %q", got)
		}
		if u := decode[userBody](f.t, f.do("GET", "/api/users/me", "", ada...)); !u.EmailVerified {
			f.t.Errorf("the address is not verified: %+v", u)
		}
		if got := fields(f, f.do("POST", "/api/auth/verify-email", `{"token":"x"}`)); got != "token" {
			f.t.Errorf("fields = %q", got)
		}
		if got := fields(f, f.do("POST", "/api/auth/password/reset", `{"token":"x","password":"short"}`)); got != "password" {
			f.t.Errorf("fields = %q", got)
		}
		c, err := f.db.CredentialsByID(f.t.Context(), id)
		if err != nil {
			f.t.Fatal(err)
		}
		reset, err := f.s.auth.ResetToken(c)
		if err != nil {
			f.t.Fatal(err)
		}
		f.want(204, f.do("POST", "/api/auth/password/reset", `{"token":"`+reset+`","password":"another horse"}`))
		f.want(401, f.do("GET", "/api/users/me", "", ada...))
		f.want(200, f.do("POST", "/api/auth/login", `{"email":"ada@example.com","password":"another horse"}`))
	})
}
