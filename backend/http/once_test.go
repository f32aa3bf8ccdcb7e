package http

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestIdempotencyKey_SecondTimeIsTheFirstAnswer(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		body := `{"email":"ada@example.com","password":"12345678","name":"Ada"}`
		key := []string{"Idempotency-Key", "key one"}
		for _, path := range []string{"/api/auth/register", "/api/users"} {
			body := strings.Replace(body, "ada", "ada"+path[5:6], 1)
			key := []string{"Idempotency-Key", path}
			first := f.want(201, f.do("POST", path, body, key...))
			again := f.want(201, f.do("POST", path, body, key...))
			if first.body != again.body || first.Header.Get("Location") != again.Header.Get("Location") ||
				first.Header.Get("Idempotency-Replayed") != "" || again.Header.Get("Idempotency-Replayed") != "true" {
				f.t.Errorf("%s: first %s %v, again %s %v", path, first.body, first.Header, again.body, again.Header)
			}
			f.want(409, f.do("POST", path, body)) // without the key it is another request
		}
		f.want(201, f.do("POST", "/api/users", body, key...))
		f.want(422, f.do("POST", "/api/users", strings.Replace(body, "Ada", "Eve", 1), key...))
		f.want(400, f.do("POST", "/api/users", strings.Replace(body, "ada@", "", 1), key...))
		f.want(409, f.do("POST", "/api/users", body, append(key, f.admin()...)...)) // another's key
	})
}

func TestIdempotencyKey_FailureMayBeTriedAgain(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		_, ada := f.register("ada@example.com")
		body := `{"email":"ada@example.com","password":"12345678","name":"Ada"}`
		f.want(409, f.do("POST", "/api/auth/register", body, "Idempotency-Key", "k"))
		f.want(204, f.do("DELETE", "/api/users/me", "", ada...))
		f.want(201, f.do("POST", "/api/auth/register", body, "Idempotency-Key", "k"))
	})
}

func TestIdempotencyKey_ManyAtOnceCreateOneUser(t *testing.T) {
	eachDatabase(t, func(f *fixture) {
		var wait sync.WaitGroup
		answers := make([]*answer, 8)
		for i := range answers {
			wait.Go(func() {
				answers[i] = f.do("POST", "/api/auth/register", `{"email":"ada@example.com","password":"12345678","name":"Ada"}`, "Idempotency-Key", "k")
			})
		}
		wait.Wait()
		made := 0
		for _, a := range answers {
			f.want(201, a)
			if a.body != answers[0].body {
				f.t.Errorf("%s and %s: more than one user", a.body, answers[0].body)
			}
			if a.Header.Get("Idempotency-Replayed") == "" {
				made++
			}
		}
		if made != 1 {
			f.t.Errorf("%d requests say they made the user, want 1", made)
		}
	})
}

func TestIdempotencyKey_BadKeys(t *testing.T) {
	f := onSQLite(t, nil)
	for i, key := range []string{strings.Repeat("x", 256), "ключ"} {
		body := fmt.Sprintf(`{"email":"u%d@example.com","password":"12345678","name":"Ada"}`, i)
		if got := fields(f, f.do("POST", "/api/users", body, "Idempotency-Key", key)); got != "Idempotency-Key" {
			t.Errorf("fields = %q, want the header", got)
		}
	}
}
