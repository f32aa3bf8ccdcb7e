package test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// The user service dies: five failures, then the breaker answers by itself,
// then the service returns and one probe finds out.
func TestExample_UserServiceDiesAndReturns(t *testing.T) {
	const open = 3 * time.Second
	g, u := startExample(t, append(generous, "breaker 5 failures open 60s", fmt.Sprintf("breaker 5 failures open %s", open))...)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	get(g.url+"/api/users/me").as(ada.token).send(t).want(t, http.StatusOK)
	health := get(g.url + "/health")
	eventually(t, "health with the user service", func() error { return tryStatus(health, http.StatusOK) })

	u.Kill()
	// A URL that nobody asked for before, so that the cache has no stale answer.
	unseen := 0
	ask := func() request {
		unseen++
		return get(fmt.Sprintf("%s/api/users/me?unseen=%d", g.url, unseen)).as(ada.token)
	}
	for n := range 5 {
		if state := breakerState(t, g, u.addr); state != "closed" {
			t.Fatalf("the breaker is %s after %d failures, want closed", state, n)
		}
		ask().send(t).wantProblem(t, http.StatusServiceUnavailable, "Service unavailable")
	}
	if state := breakerState(t, g, u.addr); state != "open" {
		t.Fatalf("the breaker is %s after 5 failures, want open", state)
	}

	// Whoever listens there now is not asked, but for one probe per open period.
	begun, dead := time.Now(), startDeadEnd(t, u.addr)
	for range 40 {
		ask().send(t).want(t, http.StatusServiceUnavailable)
	}
	if n, most := int(dead.count.Load()), 1+int(time.Since(begun)/open); n > most {
		t.Errorf("40 requests to an open breaker made %d connections, want at most %d probes", n, most)
	}
	dead.close()
	eventually(t, "health without the user service", func() error {
		return tryStatus(health, http.StatusServiceUnavailable)
	})

	u.restart()
	eventually(t, "recovery by a probe", func() error { return tryStatus(ask(), http.StatusOK) })
	if state := breakerState(t, g, u.addr); state != "closed" {
		t.Errorf("the breaker is %s after a good probe, want closed", state)
	}
	for range 20 {
		ask().send(t).want(t, http.StatusOK)
	}
	eventually(t, "health with the user service again", func() error { return tryStatus(health, http.StatusOK) })
}

// What is in the cache is served while the user service is away, marked as
// stale once it is, as `fallback stale` and `stale_if_error` say.
func TestExample_CacheAnswersWhileTheUserServiceIsAway(t *testing.T) {
	g, u := startExample(t)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+u.addr, "ada")
	me := get(g.url + "/api/users/me").as(ada.token)
	me.send(t).want(t, http.StatusOK)
	u.Kill()
	for range 10 {
		me.send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "; hit")
	}
	get(g.url+"/api/users/me").send(t).want(t, http.StatusUnauthorized)
}

func tryStatus(r request, status int) error {
	a, err := r.try()
	if err != nil {
		return err
	}
	return wantStatus(status)(a)
}

// breakerState is the state of an upstream's breaker in the admin API.
func breakerState(t *testing.T, g *gateway, upstream string) string {
	t.Helper()
	var transports map[string]struct {
		Upstreams []struct {
			Upstream string
			Breaker  struct{ State string }
		}
	}
	get(g.admin+"/fairway/breaker").send(t).want(t, http.StatusOK).into(t, &transports)
	for _, tr := range transports {
		for _, u := range tr.Upstreams {
			if u.Upstream == upstream {
				return u.Breaker.State
			}
		}
	}
	t.Fatalf("no breaker of upstream %s in %v", upstream, transports)
	return ""
}
