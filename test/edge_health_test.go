package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

const healthConfig = `
{
	admin {$FAIRWAY_ADMIN}
	default_bind keep/{$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	health /health {
		disk data / {
			min_free 1B
		}
		breakers
		keys {
			optional
		}
	}
	route {
		jwt_auth /private/* {
			issuer https://issuer.example {
				jwks_url http://{$ORIGIN}/no-keys-here
				algorithms ES256
				audience any
			}
		}
		reverse_proxy {$ORIGIN} {
			transport resilient
		}
	}
}
`

// /health sees the breakers and key sets of the running config, tells strangers
// only whether they are well, and goes on telling after a reload.
func TestHealth_SeesDiskBreakersAndKeys(t *testing.T) {
	o := startOrigin(t)
	t.Setenv("ORIGIN", o.addr)
	g := startGateway(t, healthConfig)
	type check struct {
		Healthy bool    `json:"healthy"`
		Error   string  `json:"error"`
		Latency float64 `json:"latency_ms"`
	}
	want := func(status int, word string, errors map[string]string) {
		t.Helper()
		eventually(t, "health "+word, func() error {
			a := get(g.url + "/health").send(t)
			var body struct {
				Status string           `json:"status"`
				Checks map[string]check `json:"checks"`
			}
			a.into(t, &body)
			if a.status != status || body.Status != word || len(body.Checks) != 3 {
				return fmt.Errorf("want %d %s; %s", status, word, a)
			}
			for name, c := range body.Checks {
				if c.Error != errors[name] || c.Healthy != (errors[name] == "") {
					return fmt.Errorf("%s: want %q; %s", name, errors[name], a)
				}
			}
			return nil
		})
	}
	noKeys := map[string]string{"keys": "no keys"}
	want(http.StatusOK, "degraded", noKeys)

	open := func(action string) {
		t.Helper()
		post(g.admin+"/fairway/breaker/"+action, fmt.Sprintf(`{"upstream":%q}`, o.addr)).send(t).want(t, http.StatusOK)
	}
	open("open")
	want(http.StatusOK, "degraded", map[string]string{"keys": "no keys", "breakers": "open"})

	required := strings.Replace(healthConfig, "breakers\n", "breakers {\n\t\t\trequired\n\t\t}\n", 1)
	g.load(required).want(t, http.StatusOK)
	want(http.StatusServiceUnavailable, "unavailable", map[string]string{"keys": "no keys", "breakers": "open"})
	if a := g.load(strings.Replace(required, "min_free 1B", "min_free 1XB", 1)); a.status != http.StatusBadRequest || !strings.Contains(a.body, "min_free") {
		t.Errorf("a config with a mistake: %s", a)
	}
	want(http.StatusServiceUnavailable, "unavailable", map[string]string{"keys": "no keys", "breakers": "open"})
	open("reset")
	want(http.StatusOK, "degraded", noKeys)
}
