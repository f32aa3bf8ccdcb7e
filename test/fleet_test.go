package test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// Two gateways on one Redis are one gateway to a client: one limit, one cache.
func TestFleet_SharesLimitAndCache(t *testing.T) {
	redis := redistest.Start(t)
	u := startUsers(t)
	fleet := startFleet(t, example(t, generous[2:]...), u, redis)
	for _, g := range fleet {
		awaitKeys(t, g)
	}
	ada := signUp(t, "http://"+u.addr, "ada")

	for n := range 8 {
		want := http.StatusUnauthorized
		if n >= 5 {
			want = http.StatusTooManyRequests
		}
		g := fleet[n%2]
		post(g.url+"/api/auth/login", `{"email":"nobody@example.com","password":"wrong wrong"}`).send(t).want(t, want)
	}

	eventually(t, "a hit on what the other gateway stored", sharedHit(fleet, func(n int) request {
		return get(fmt.Sprintf("/api/users/me?n=%d", n)).as(ada.token)
	}))

	// A change through one gateway is seen through the other.
	me := get("/api/users/me").as(ada.token)
	for _, g := range fleet {
		me.at(g).send(t).want(t, http.StatusOK)
	}
	patch := request{method: http.MethodPatch, url: me.url, token: ada.token, body: `{"name":"Ada Lovelace"}`}
	patch.at(fleet[0]).send(t).want(t, http.StatusOK)
	eventually(t, "the change on the other gateway", func() error {
		a := me.at(fleet[1]).send(t).want(t, http.StatusOK)
		var user struct{ Name string }
		a.into(t, &user)
		if user.Name != "Ada Lovelace" {
			return fmt.Errorf("still the old answer; %s", a)
		}
		return nil
	})
}

func startFleet(t *testing.T, caddyfile string, u *userService, redis *redistest.Server) [2]*gateway {
	t.Helper()
	env := []string{"REDIS_URL=" + redis.URL()}
	if u != nil {
		env = append(env, "USERS_ADDRESS="+u.addr)
	}
	return [2]*gateway{startGateway(t, caddyfile, env...), startGateway(t, caddyfile, env...)}
}

// at sends a request whose URL is a path to this gateway, by the one name that
// all gateways of the fleet have.
func (r request) at(g *gateway) request {
	r.url = g.url + r.url
	return r.with("Host", "fleet.example")
}

// sharedHit returns a check: what one gateway fetched, the other has at the
// first request. Each attempt takes another URL, because a second request would
// be a hit in any case.
func sharedHit(fleet [2]*gateway, url func(n int) request) func() error {
	n := 0
	return func() error {
		n++
		r := url(n)
		if err := tryStatus(r.at(fleet[0]), http.StatusOK); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // it is written to Redis in the background
		a, err := r.at(fleet[1]).try()
		if err != nil {
			return err
		}
		if !hit(a) {
			return fmt.Errorf("not a hit; %s", a)
		}
		return nil
	}
}

// fleetConfig has a limit by key and a cache in front of an origin.
const fleetConfig = `
{
	admin {$FAIRWAY_ADMIN}
	fairway {
		redis {$REDIS_URL}
	}
}
{$FAIRWAY_LISTEN} {
	route {
		rate_limit {
			zone many {
				key {header.X-Client}
				events 1000000
				window 15m
			}
			zone few {
				match {
					path /few
				}
				key {query.key}
				events 5
				window 15m
			}
		}
		cache {
			max_size 64MiB
		}
		resilience {
			timeout 10s
		}
		reverse_proxy {$ORIGIN} {
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

// Redis is killed, returns, freezes and thaws in the middle of traffic. No
// request fails because of it, and afterwards the gateways share again.
func TestFleet_LosesRedisUnderTraffic(t *testing.T) {
	redis, o := redistest.Start(t), startOrigin(t)
	t.Setenv("ORIGIN", o.addr)
	fleet := startFleet(t, fleetConfig, nil, redis)
	share := func(when string) {
		t.Helper()
		eventually(t, "one cache "+when, sharedHit(fleet, func(n int) request {
			return get(fmt.Sprintf("/cached/%s/%d", when, n)).with("X-Client", "tester")
		}))
		eventually(t, "one limit "+when, sharedLimit(fleet, when))
	}
	share("before")

	load := startTraffic(t, 4, func(worker, n int) request {
		r := get("/plain")
		if n%2 == 1 {
			r = get(fmt.Sprintf("/cached/%d", n%40))
		}
		return r.at(fleet[worker%2]).with("X-Client", fmt.Sprintf("worker-%d", worker))
	}, wantStatus(http.StatusOK))
	load.flow(t, 100)
	redis.Kill()
	load.flow(t, 400)
	redis.Restart()
	load.flow(t, 200)
	share("after-restart")
	redis.Pause()
	load.flow(t, 400)
	redis.Resume()
	load.flow(t, 100)
	load.end(t)
	share("after-thaw")
}

// sharedLimit returns a check: of eight requests with one new key, sent to both
// gateways in turn, exactly the five that the limit allows are let through.
func sharedLimit(fleet [2]*gateway, when string) func() error {
	attempt := 0
	return func() error {
		attempt++
		admitted := 0
		for n := range 8 {
			r := get(fmt.Sprintf("/few?key=%s-%d", when, attempt)).at(fleet[n%2]).with("X-Client", "tester")
			a, err := r.try()
			if err != nil {
				return err
			}
			if err := wantStatus(http.StatusOK, http.StatusTooManyRequests)(a); err != nil {
				return err
			}
			if a.status == http.StatusOK {
				admitted++
			}
		}
		if admitted != 5 {
			return fmt.Errorf("%d of 8 admitted, want 5", admitted)
		}
		return nil
	}
}

// A gateway whose Redis is not there at start works all the same.
func TestFleet_StartsWithoutRedis(t *testing.T) {
	redis, o := redistest.Start(t), startOrigin(t)
	t.Setenv("ORIGIN", o.addr)
	redis.Kill()
	fleet := startFleet(t, fleetConfig, nil, redis)
	for _, g := range fleet {
		get("/plain").at(g).with("X-Client", "tester").send(t).want(t, http.StatusOK)
	}
	redis.Restart()
	eventually(t, "one limit once Redis is there", sharedLimit(fleet, "late"))
	if err := tryStatus(get(fleet[0].admin+"/fairway/redis"), http.StatusOK); err != nil {
		t.Error(err)
	}
}
