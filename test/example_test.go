package test

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The README's tour through Caddyfile.example, with nothing installed: what
// `make run` shows.
func TestExample_ARequestsWay(t *testing.T) {
	g, _ := startExample(t)
	awaitKeys(t, g)

	// Five requests under /api/auth/: two sign-ups and a bad body.
	ada, bob := signUp(t, g.url, "ada"), signUp(t, g.url, "bob")
	bad := post(g.url+"/api/auth/register", `{"email":"ada","password":"short","name":"A","age":7}`).send(t).
		wantProblem(t, http.StatusBadRequest, "Validation failed")
	if want := []string{"age", "email", "name", "password"}; !slices.Equal(bad.fields(), want) {
		t.Errorf("details name %v, want every wrong field: %v", bad.fields(), want)
	}

	// The sixth is over the limit of this address, whatever it asks for.
	refused := post(g.url+"/api/auth/login", `{"email":"ada@example.com","password":"x"}`).send(t)
	refused.wantProblem(t, http.StatusTooManyRequests, "Too many requests")
	wantLimitHeaders(t, refused, "login", 5, 900)

	me := get(g.url + "/api/users/me")
	me.send(t).wantHeader(t, "WWW-Authenticate", "Bearer").
		wantProblem(t, http.StatusUnauthorized, "Unauthorized")

	// Each user's own answer is kept for that user.
	for _, who := range []account{ada, bob} {
		first := me.as(who.token).send(t).want(t, http.StatusOK)
		if hit(first) {
			t.Errorf("the first request of %s is answered from the cache; %s", who.email, first)
		}
		second := me.as(who.token).send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")
		for _, a := range []answer{first, second} {
			var user struct {
				ID    int64
				Email string
			}
			a.into(t, &user)
			if user.ID != who.id || user.Email != who.email {
				t.Errorf("%s sees %+v", who.email, user)
			}
			a.wantHeader(t, "RateLimit", `"users"`)
		}
	}
	me.send(t).want(t, http.StatusUnauthorized)
}

// hit says whether an answer came from the gateway's cache (RFC 9211).
func hit(a answer) bool {
	return strings.Contains(a.header.Get("Cache-Status"), "; hit")
}

// wantLimitHeaders checks the three headers of a refused request.
func wantLimitHeaders(t *testing.T, a answer, zone string, quota, window int) {
	t.Helper()
	a.wantHeader(t, "RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=%d", zone, quota, window))
	a.wantHeader(t, "RateLimit", fmt.Sprintf("%q;r=0;t=", zone))
	retry, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || retry < 1 || retry > window+window/4 {
		t.Errorf("Retry-After is %q, want a number of seconds within the window; %s", a.header.Get("Retry-After"), a)
	}
}

// awaitKeys waits until the gateway has fetched the user service's keys: before
// that, jwt_auth answers 503 to everybody.
func awaitKeys(t testing.TB, g *gateway) {
	t.Helper()
	eventually(t, "the key set", func() error {
		a, err := get(g.url + "/api/users/me").as(foreignToken).try()
		if err != nil {
			return err
		}
		return wantStatus(http.StatusUnauthorized)(a)
	})
}

// foreignToken is well-formed, names the right issuer, and is signed by nobody.
var foreignToken = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6Im5vYm9keSJ9." +
	"eyJpc3MiOiJodHRwczovL2ZhaXJ3YXkuZXhhbXBsZSIsImF1ZCI6ImZhaXJ3YXkiLCJzdWIiOiIxIiwiZXhwIjo0MTAyNDQ0ODAwfQ." +
	strings.Repeat("A", 86)

func TestExample_PatchIsSeenAtOnce(t *testing.T) {
	g, u := startExample(t)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	me := get(g.url + "/api/users/me").as(ada.token)
	me.send(t).want(t, http.StatusOK)
	me.send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")

	request{method: http.MethodPatch, url: me.url, token: ada.token, body: `{"name":"Ada Lovelace"}`}.
		send(t).want(t, http.StatusOK)
	after := me.send(t).want(t, http.StatusOK)
	if hit(after) || !strings.Contains(after.body, "Ada Lovelace") {
		t.Errorf("after a change the old answer is served; %s", after)
	}
}

func TestExample_HealthAndErrors(t *testing.T) {
	g, _ := startExample(t)
	eventually(t, "health", func() error {
		a, err := get(g.url + "/health").try()
		if err != nil {
			return err
		}
		return wantStatus(http.StatusOK)(a)
	})
	get(g.url+"/nothing/here").send(t).wantProblem(t, http.StatusNotFound, "Not found")
	if id := get(g.url + "/health").send(t).header.Get("X-Request-ID"); id == "" {
		t.Error("no X-Request-ID on the answer of /health")
	}
}

func TestExample_LargeAnswersAreCompressedOnce(t *testing.T) {
	g, u := startExample(t, "minimum_length 1024", "minimum_length 400")
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	bio := strings.Repeat("a long life, ", 37) + "and so on"
	request{
		method: http.MethodPatch, url: g.url + "/api/users/me", token: ada.token,
		body: fmt.Sprintf(`{"profile":{"bio":%q}}`, bio),
	}.send(t).want(t, http.StatusOK)

	zipped := get(g.url+"/api/users/me").as(ada.token).with("Accept-Encoding", "gzip")
	zipped.send(t).want(t, http.StatusOK).wantHeader(t, "Content-Encoding", "gzip")
	zipped.send(t).want(t, http.StatusOK).wantHeader(t, "Content-Encoding", "gzip").wantHeader(t, "Cache-Status", "; hit")
	plain := get(g.url+"/api/users/me").as(ada.token).send(t).want(t, http.StatusOK)
	if plain.header.Get("Content-Encoding") != "" || !strings.Contains(plain.body, bio) {
		t.Errorf("a client that takes no encoding got another's; %s", plain)
	}
}
