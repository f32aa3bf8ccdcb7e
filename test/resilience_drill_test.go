package test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The drill of docs/resilience.md, step by step, with the Caddyfile that the page
// shows: only addresses differ.
func TestResilienceDrill_AsTheDocsDescribeIt(t *testing.T) {
	us := startUpstreams(t, 2, behaviour{})
	drill := drillOfDocs(t, us)
	g := startGateway(t, drill)

	// 2: a share of the tries on the second upstream fails; no client notices.
	for range 300 {
		get(g.url).send(t).want(t, http.StatusOK)
	}
	if n := metric(t, g, `fairway_resilience_retries_total\{after="status",name="default"\}`); n == 0 {
		t.Error("nothing was tried again")
	}

	// 3: all of its tries fail, its breaker opens, clients do not notice.
	if a := g.load(strings.Replace(drill, "abort 503 10%", "abort 503 100%", 1)); a.status != http.StatusOK {
		t.Fatal(a)
	}
	eventually(t, "the second breaker opens", func() error {
		get(g.url).send(t).want(t, http.StatusOK)
		return wantBreaker(t, g, us[1], "open")
	})
	if err := wantBreaker(t, g, us[0], "closed"); err != nil {
		t.Error(err)
	}

	// 4: both fail: clients get the fallback at once.
	both := strings.Replace(drill, "abort 503 10%", "abort 503 100%", 1)
	both = regexp.MustCompile(`(?m)^\s*upstream 127.*\n`).ReplaceAllString(both, "")
	if a := g.load(both); a.status != http.StatusOK {
		t.Fatal(a)
	}
	eventually(t, "the fallback answers", func() error {
		a := get(g.url).send(t)
		if a.header.Get("Fairway-Fallback") != "respond" || a.header.Get("Retry-After") == "" {
			return fmt.Errorf("%s", a)
		}
		a.want(t, http.StatusServiceUnavailable)
		return nil
	})

	// 5: without faults both close again by a probe.
	if a := g.load(regexp.MustCompile(`(?s)\n\s*fault \{.*?\}`).ReplaceAllString(drill, "")); a.status != http.StatusOK {
		t.Fatal(a)
	}
	for _, u := range us {
		eventually(t, "the breaker closes", func() error {
			_, _ = get(g.url).try()
			return wantBreaker(t, g, u, "closed")
		})
	}
	for range 20 {
		get(g.url).send(t).want(t, http.StatusOK)
	}
}

// drillOfDocs is the Caddyfile of the drill, with the test's addresses.
func drillOfDocs(t *testing.T, us []*upstream) string {
	t.Helper()
	text := replaced(t, shownConfig(t, "resilience.md", "## A drill"),
		"{\n\tfairway {", "{\n\tadmin {$FAIRWAY_ADMIN}\n\tfairway {",
		":8080 {", "{$FAIRWAY_LISTEN} {\n\tmetrics /metrics")
	return strings.NewReplacer("127.0.0.1:8081", us[0].addr, "127.0.0.1:8082", us[1].addr).Replace(text)
}

func wantBreaker(t *testing.T, g *gateway, u *upstream, want string) error {
	t.Helper()
	if got := breakerState(t, g, u.addr); got != want {
		return fmt.Errorf("the breaker of %s is %s, want %s", u.addr, got, want)
	}
	return nil
}

// metric is the value of the series that a pattern matches; zero without one.
func metric(t *testing.T, g *gateway, pattern string) float64 {
	t.Helper()
	text := get(g.url + "/metrics").send(t).body
	m := regexp.MustCompile(`(?m)^` + pattern + ` (\S+)$`).FindStringSubmatch(text)
	if m == nil {
		return 0
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
