package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fairway-gateway/fairway/backend/sql/pgtest"
)

// Two instances on one PostgreSQL are replaced one after the other, twice, while
// users are created and read through the gateway: no request fails.
func TestUsersRolling_RestartFailsNoRequest(t *testing.T) {
	settings := []string{"DATABASE_URL=" + pgtest.Database(t), "USERS_DRAIN_DELAY=2s"}
	pair := []*userService{startUsers(t, settings...), startUsers(t, settings...)}
	g := startGateway(t, example(t, append(generous,
		"reverse_proxy {$USERS_ADDRESS:127.0.0.1:8081} {",
		fmt.Sprintf("reverse_proxy %s %s {\n health_uri /ready\n health_interval 100ms", pair[0].addr, pair[1].addr))...),
		"USERS_ADDRESS="+pair[0].addr)
	awaitKeys(t, g)
	ada := signUp(t, "http://"+pair[1].addr, "ada")

	var created atomic.Int64
	mix := func(worker, n int) request {
		switch n % 3 {
		case 0:
			created.Add(1)
			return post(g.url+"/api/auth/register", fmt.Sprintf(`{"email":"u%d-%d@example.com","password":%q,"name":"Bob"}`, worker, n, password))
		case 1: // a URL that is in no cache
			return get(fmt.Sprintf("%s/api/users/me?n=%d-%d", g.url, worker, n)).as(ada.token)
		}
		return request{method: http.MethodPatch, url: g.url + "/api/users/me", token: ada.token, body: fmt.Sprintf(`{"age":%d}`, 20+worker)}
	}
	tr := startTraffic(t, 6, mix, wantStatus(http.StatusOK, http.StatusCreated))
	tr.flow(t, 100)
	for round := range 2 {
		for i, u := range pair {
			if err := u.Stop(stopGrace); err != nil {
				t.Fatal(err)
			}
			if code := u.ExitCode(); code != 0 {
				t.Errorf("round %d: instance %d ended with %d, want 0", round, i, code)
			}
			tr.flow(t, 100)
			u.restart()
			eventually(t, "the gateway uses it again", func() error {
				if !strings.Contains(u.Log(), `"path":"/api/`) {
					return fmt.Errorf("it has logged\n%s", u.LogTail(3))
				}
				return nil
			})
			tr.flow(t, 100)
		}
	}
	tr.end(t)
	if created.Load() < 100 {
		t.Errorf("only %d users were created meanwhile", created.Load())
	}
}
