package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// Who logs out everywhere is refused by every gateway within a second, although
// the tokens have a quarter of an hour to go: the user service writes it into
// the Redis that the gateways read. Others, and a new login, are not concerned.
func TestJWTAuth_LogoutEverywhereDuringTraffic(t *testing.T) {
	redis := redistest.Start(t)
	u := startUsers(t, "USERS_REDIS_URL="+redis.URL())
	fleet := startFleet(t, example(t, generous...), u, redis)
	for _, g := range fleet {
		awaitKeys(t, g)
	}
	service := "http://" + u.addr
	ada, bob := signUp(t, service, "ada"), signUp(t, service, "bob")
	again := logIn(t, service, ada)

	f := newFate()
	f.whose = func(a answer) string {
		var user struct{ ID json.Number }
		_ = json.Unmarshal([]byte(a.body), &user)
		return user.ID.String()
	}
	for _, token := range []string{ada.token, again, bob.token} {
		f.good(token, subjectOf(t, token))
	}
	load := startTraffic(t, 4, func(worker, n int) request {
		token := []string{ada.token, again, bob.token}[n%3]
		return get("/api/users/me").as(token).at(fleet[worker%2])
	}, f.check)
	load.flow(t, 60)
	for _, token := range []string{ada.token, again} {
		f.set(token, lot{user: subjectOf(t, token), passes: time.Now()})
	}
	request{method: http.MethodDelete, url: service + "/api/users/me/sessions", token: ada.token}.send(t).want(t, http.StatusNoContent)
	f.ends(effective, ada.token, again)
	time.Sleep(effective)
	load.flow(t, 60)
	load.end(t)
	if f.tooLate() < 20 {
		t.Errorf("%d requests were sent after the logout, want many", f.tooLate())
	}
	t.Logf("%d requests sent more than %s after the logout, all refused", f.tooLate(), effective)

	time.Sleep(effective) // tokens of the second of the logout count as old
	token := logIn(t, service, ada)
	for _, g := range fleet {
		get("/api/users/me").as(token).at(g).send(t).want(t, http.StatusOK)
	}
}

func logIn(t *testing.T, base string, a account) string {
	t.Helper()
	var login struct {
		Token string `json:"access_token"`
	}
	post(base+"/api/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, a.email, password)).
		send(t).want(t, http.StatusOK).into(t, &login)
	return login.Token
}

// subjectOf reads the user of a token that the service has just signed.
func subjectOf(t testing.TB, token string) string {
	t.Helper()
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Subject
}
