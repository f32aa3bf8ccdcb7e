package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
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
	advised := 0
	for range 40 {
		if ask().send(t).want(t, http.StatusServiceUnavailable).header.Get("Retry-After") != "" {
			advised++
		}
	}
	if advised == 0 {
		t.Error("no refusal of the open breaker says when to come back")
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

// What is in the cache is served while the user service is away, to whom it
// belongs and to nobody else.
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

const staleConfig = `
{
	admin {$FAIRWAY_ADMIN}
}
{$FAIRWAY_LISTEN} {
	route {
		cache {
			%s
		}
		resilience {
			timeout 5s
			fallback stale
			fallback respond 503
		}
		reverse_proxy %s {
			lb_policy resilient {
				policy first
			}
			transport resilient {
				breaker 5 failures open 60s
			}
		}
	}
	handle_errors {
		problem
	}
}
`

// A response that is past its freshness is served all the same when the origin
// cannot answer: as stale_if_error allows, and by `fallback stale`.
func TestStale_ServedWhenTheOriginIsDown(t *testing.T) {
	for name, option := range map[string]string{
		"stale_if_error": "stale_if_error 10m",
		"fallback stale": "max_size 64MiB",
	} {
		t.Run(name, func(t *testing.T) {
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", "public, max-age=1")
				_, _ = w.Write([]byte("good for a second"))
			}))
			defer origin.Close()
			g := startGateway(t, fmt.Sprintf(staleConfig, option, strings.TrimPrefix(origin.URL, "http://")))
			get(g.url+"/short").send(t).want(t, http.StatusOK)
			origin.Close()
			eventually(t, "a stale answer", func() error {
				a := get(g.url+"/short").send(t).want(t, http.StatusOK)
				if age, err := strconv.Atoi(a.header.Get("Age")); err != nil || age < 2 {
					return fmt.Errorf("age %d; %s", age, a)
				}
				return nil
			})
			// Through the open breaker too, and only for what is stored.
			for range 10 {
				a := get(g.url+"/short").send(t).want(t, http.StatusOK)
				if a.body != "good for a second" {
					t.Errorf("want the stored body; %s", a)
				}
				get(g.url+"/never/seen").send(t).want(t, http.StatusServiceUnavailable)
			}
		})
	}
}

func tryStatus(r request, status int) error {
	a, err := r.try()
	if err != nil {
		return err
	}
	return wantStatus(status)(a)
}

// breakerState is the state of an upstream's breaker in the admin API.
func breakerState(t testing.TB, g *gateway, upstream string) string {
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
