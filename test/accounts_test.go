package test

import (
	"fmt"
	"net/http"
	"testing"
)

// account is a registered user with a valid token.
type account struct {
	id    int64
	email string
	token string
}

const password = "correct horse battery"

// signUp registers and logs in through the API at base, which may be a gateway
// or the user service itself (whose rate limit is none).
func signUp(t testing.TB, base, name string) account {
	t.Helper()
	a := account{email: name + "@example.com"}
	var registered struct{ ID int64 }
	post(base+"/api/auth/register", fmt.Sprintf(`{"email":%q,"password":%q,"name":%q,"age":36}`, a.email, password, name)).
		send(t).want(t, http.StatusCreated).into(t, &registered)
	a.id = registered.ID
	var login struct {
		Token string `json:"access_token"`
	}
	post(base+"/api/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, a.email, password)).
		send(t).want(t, http.StatusOK).into(t, &login)
	if login.Token == "" {
		t.Fatal("login answered no access_token")
	}
	a.token = login.Token
	return a
}
