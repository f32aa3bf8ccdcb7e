package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// jwtConfig answers with the name of the user that the token names. Keys are
// fetched every second, in a flood of unknown ones every 100 ms.
const jwtConfig = `
{
	admin {$FAIRWAY_ADMIN}
	fairway {
		redis {$REDIS_URL:off}
	}
}
{$FAIRWAY_LISTEN} {
	route {
		jwt_auth {
			issuer https://idp.example/ {
				jwks_url {$JWKS_URL}
				algorithms ES256
				audience https://api.example.com
				refresh 1s
				min_refresh 100ms
				max_stale 5s
				timeout 300ms
			}
		}
		respond "{http.auth.user.id}"
	}
	handle_errors {
		problem
	}
}
`

const (
	// refreshes is when jwtConfig's gateway knows of a change at the provider.
	refreshes = 2 * time.Second

	// effective is when a revocation is, on every gateway.
	effective = time.Second
)

// lot is what is to happen to requests with one token: they pass until a time,
// and are refused from a time on. In between either is right.
type lot struct {
	user           string // "": never good
	status         int    // of the refusal; default 401
	passes, barred time.Time
}

// fate knows the lot of every token. It is safe for concurrent use.
type fate struct {
	whose func(answer) string // the user to whom the gateway answered

	mu   sync.Mutex
	lots map[string]lot
	late int // requests sent with tokens that were good once, and barred by then
}

// newFate is for jwtConfig, whose answers are the user's name.
func newFate() *fate {
	return &fate{lots: map[string]lot{}, whose: func(a answer) string { return a.body }}
}

// good says that a token names a user, for now.
func (f *fate) good(token, user string) string {
	f.set(token, lot{user: user})
	return token
}

func (f *fate) set(token string, l lot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lots[token] = l
}

// ends says that tokens are good until now and refused after some time.
func (f *fate) ends(after time.Duration, tokens ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, token := range tokens {
		l := f.lots[token]
		l.passes, l.barred = now, now.Add(after)
		f.lots[token] = l
	}
}

// check compares an answer with the lot of its token.
func (f *fate) check(a answer) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ended := f.lots[a.to.token], time.Now()
	begun := ended.Add(-a.took)
	refusal := max(l.status, http.StatusUnauthorized)
	barred := l.user == "" || !l.barred.IsZero() && begun.After(l.barred)
	if barred && l.user != "" {
		f.late++
	}
	switch {
	case a.status == http.StatusOK && f.whose(a) != l.user:
		return fmt.Errorf("the token of %q passed as %q", l.user, f.whose(a))
	case a.status == http.StatusOK && barred:
		return fmt.Errorf("a token of %q passed, %s too late", l.user, begun.Sub(l.barred))
	case a.status == http.StatusOK, a.status == refusal && barred:
		return nil
	case a.status == refusal && !l.passes.IsZero() && ended.After(l.passes):
		return nil
	}
	return fmt.Errorf("the token of %q was refused; %s", l.user, a)
}

// tooLate returns how many requests were sent with tokens that were good once.
func (f *fate) tooLate() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.late
}

// startJWTGateway starts a gateway and waits until it knows the provider's keys.
func startJWTGateway(t testing.TB, p *identityProvider, k *idpKey, env ...string) *gateway {
	t.Helper()
	g := startGateway(t, jwtConfig, append(env, "JWKS_URL="+p.URL+"/jwks.json")...)
	eventually(t, "the keys", func() error { return tryStatus(get(g.url).as(p.sign(k, "tester", nil)), http.StatusOK) })
	return g
}

// A rotation under traffic: a new key signs from the moment it is published, and
// the old one, taken out of the set, is good for nothing.
func TestJWTAuth_RotationDuringTraffic(t *testing.T) {
	k1, k2 := newIDPKey(t, "k1"), newIDPKey(t, "k2")
	p := startProvider(t, k1)
	g := startJWTGateway(t, p, k1)

	f := newFate()
	signer := make(chan *idpKey, 1) // who signs new tokens
	signer <- k1
	kept := f.good(p.sign(k1, "kept", nil), "kept")
	enemies := p.hostile(k1)
	for _, token := range enemies {
		f.set(token, lot{})
	}
	old := []string{kept}
	load := startTraffic(t, 6, func(worker, n int) request {
		switch worker {
		case 0:
			return get(g.url).as(enemies[n%len(enemies)])
		case 1:
			return get(g.url).as(kept)
		}
		k := <-signer
		defer func() { signer <- k }()
		user := fmt.Sprintf("user-%d-%d", worker, n)
		token := f.good(p.sign(k, user, nil), user)
		if k == k1 {
			old = append(old, token) // whoever holds the signer may
		}
		return get(g.url).as(token)
	}, f.check)

	load.flow(t, 200)
	<-signer
	p.publish(k1, k2)
	signer <- k2
	load.flow(t, 200)
	<-signer
	p.publish(k2)
	f.ends(refreshes, old...)
	signer <- k2
	time.Sleep(refreshes)
	eventually(t, "requests with tokens of the old key", func() error {
		if f.tooLate() < 10 {
			return fmt.Errorf("only %d", f.tooLate())
		}
		return nil
	})
	load.end(t)
	t.Logf("%d requests with tokens of the old key, all refused; %d fetches", f.tooLate(), p.fetches.Load())
}

// An outage under traffic, in all the ways of a key server that is not well,
// for longer than refresh: nobody notices. Beyond max_stale tokens are answered
// 503, and again 200 once it is well.
func TestJWTAuth_OutageDuringTraffic(t *testing.T) {
	k := newIDPKey(t, "k1")
	p := startProvider(t, k)
	g := startJWTGateway(t, p, k)
	f := newFate()
	enemies := p.hostile(k)
	for _, token := range enemies {
		f.set(token, lot{})
	}
	kept := f.good(p.sign(k, "kept", nil), "kept")
	load := startTraffic(t, 4, func(worker, n int) request {
		switch worker {
		case 0:
			return get(g.url).as(enemies[n%len(enemies)])
		case 1:
			return get(g.url).as(kept)
		}
		user := fmt.Sprintf("user-%d-%d", worker, n)
		return get(g.url).as(f.good(p.sign(k, user, nil), user))
	}, f.check)
	for name, broken := range map[string]http.HandlerFunc{
		"hangs":            func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"fails":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"has no keys":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) },
		"shows a web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<!doctype html>")) },
	} {
		p.behave(broken)
		before := p.fetches.Load()
		time.Sleep(refreshes)
		load.flow(t, 100)
		if p.fetches.Load() == before {
			t.Errorf("%s: nothing was fetched, so nothing was tested", name)
		}
		p.behave(nil)
		time.Sleep(refreshes / 2)
	}
	load.end(t)

	// No key set for longer than max_stale: there is nothing left to decide by.
	p.behave(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	good := get(g.url).as(p.sign(k, "ada", nil))
	eventually(t, "a 503 once the keys are too old", func() error { return tryStatus(good, http.StatusServiceUnavailable) })
	good.send(t).wantProblem(t, http.StatusServiceUnavailable, "Service unavailable")
	for _, token := range enemies {
		if a := get(g.url).as(token).send(t); a.status == http.StatusOK {
			t.Errorf("a bad token passed without keys; %s", a)
		}
	}
	p.behave(nil)
	eventually(t, "the return of the keys", func() error { return tryStatus(good, http.StatusOK) })
}

// Revocations under traffic: of one token and of all of a subject's, told to one
// gateway by the admin API or the command line. On every gateway every request
// sent a second later is refused, and nobody else's.
func TestJWTAuth_RevocationDuringTraffic(t *testing.T) {
	k := newIDPKey(t, "k1")
	p := startProvider(t, k)
	t.Run("one gateway, in memory", func(t *testing.T) {
		revokeDuringTraffic(t, p, k, startJWTGateway(t, p, k))
	})
	t.Run("two gateways, by Redis", func(t *testing.T) {
		redis := "REDIS_URL=" + redistest.Start(t).URL()
		revokeDuringTraffic(t, p, k, startJWTGateway(t, p, k, redis), startJWTGateway(t, p, k, redis))
	})
}

func revokeDuringTraffic(t *testing.T, p *identityProvider, k *idpKey, fleet ...*gateway) {
	t.Helper()
	f := newFate()
	sign := func(user string) string {
		return f.good(p.sign(k, user, jwt.MapClaims{"iat": time.Now().Add(-time.Minute).Unix()}), user)
	}
	ada1, ada2, bob1, bob2, eve := sign("ada"), sign("ada"), sign("bob"), sign("bob"), sign("eve")
	tokens := []string{ada1, ada2, bob1, bob2, eve}
	load := startTraffic(t, 2*len(fleet), func(worker, n int) request {
		return get(fleet[worker%len(fleet)].url).as(tokens[n%len(tokens)])
	}, f.check)
	load.flow(t, 100)

	g := fleet[0]
	revoke := func(args ...string) {
		t.Helper()
		args = append([]string{"token", "revoke", "--address", strings.TrimPrefix(g.admin, "http://")}, args...)
		if out, code := run(t, t.TempDir(), fairway(t), args...); code != 0 {
			t.Fatalf("fairway %v: %s", args, out)
		}
	}
	// However long the command takes to start: the second counts from its end.
	f.set(ada1, lot{user: "ada", passes: time.Now()})
	revoke(ada1) // by its jti
	f.set(ada1, lot{user: "ada", passes: time.Now(), barred: time.Now().Add(effective)})

	body := `{"iss":"` + p.issuer + `","sub":"bob"}`
	for _, token := range []string{bob1, bob2} {
		f.set(token, lot{user: "bob", passes: time.Now()})
	}
	post(g.admin+"/fairway/jwt_auth/revoke", body).send(t).want(t, http.StatusOK)
	f.ends(effective, bob1, bob2)

	time.Sleep(effective)
	load.flow(t, 100*len(fleet))
	load.end(t)
	if f.tooLate() < 20 {
		t.Errorf("%d requests were sent with revoked tokens, want many", f.tooLate())
	}
	for _, g := range fleet {
		for _, token := range []string{ada1, bob1, bob2} {
			get(g.url).as(token).send(t).wantProblem(t, http.StatusUnauthorized, "Unauthorized")
		}
		for token, user := range map[string]string{ada2: "ada", eve: "eve"} {
			if a := get(g.url).as(token).send(t).want(t, http.StatusOK); a.body != user {
				t.Errorf("%s is %q to the gateway", user, a.body)
			}
		}
	}
	t.Logf("%d requests sent more than %s after the revocation, all refused", f.tooLate(), effective)
}
