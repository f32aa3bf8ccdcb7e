package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fairway-gateway/fairway/modules/gateway"
	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// loadZone provisions a handler with one zone.
func loadZone(t *testing.T, url, options string) *Handler {
	t.Helper()
	return newNode(t, url).mustLoad("rate_limit {\nzone " + zoneName() + " {\n" + options + "\n}\n}")
}

// otherProcess gives a handler memory of its own, as on another machine.
func otherProcess(h *Handler) *Handler {
	for _, z := range h.zones {
		z.limiter.state = newState(defaultSlots, z.base.gcra)
		b := z.limiter.backend.(*redisBackend)
		z.limiter.backend = newRedisBackend(b.redis, z.name, b.node+"other")
	}
	return h
}

// eventually polls, so that a slow machine is slow and not wrong.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("it never came true that %s", what)
}

func TestHandler_CostByPlaceholder(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		h := loadZone(t, url, "rate 10/1h\ncost {http.request.header.Cost}")
		for _, tc := range []struct{ cost, want string }{
			{"7", "200"}, {"4", "429"}, {"99999999999999", "429"}, {"0", "200"}, {"nonsense", "200"}, {"-5", "200"}, {"1", "200"}, {"1", "429"}, {"0", "200"},
		} {
			if got := statuses(1, h, "/", "Cost: "+tc.cost); got != tc.want {
				t.Errorf("cost %s: %s, want %s", tc.cost, got, tc.want)
			}
		}
	})
}

func TestHandler_CountIf(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		h := loadZone(t, url, "rate 3/1h\ncount_if status 401 5xx")
		status := func(next int) int { return request(h, respond(next), "POST", "/login").status }
		for range 10 {
			if got := status(200); got != 200 {
				t.Fatalf("a success was counted: %d", got)
			}
		}
		failing := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
			return caddyhttp.Error(502, errors.New("upstream"))
		})
		for i, got := range []int{status(401), status(404), request(h, failing, "POST", "/login").status, status(401), status(401), status(200)} {
			if want := []int{401, 404, 502, 401, 429, 429}[i]; got != want {
				t.Errorf("request %d: %d, want %d", i, got, want)
			}
		}
	})
}

func TestHandler_Ban(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		h := loadZone(t, url, "rate 2/1s\nban 1h after 5 denials in 1m\nlease off")
		eventually(t, "the key is banned", func() bool {
			a := get(h, "/")
			d, _ := a.vars[gateway.VarDetails].([]gateway.Detail)
			return len(d) == 1 && strings.HasPrefix(d[0].Message, "banned")
		})
		a := get(h, "/")
		if a.status != 429 || len(a.header.Get("Retry-After")) < 4 {
			t.Errorf("while banned: %d, Retry-After %s, want 429 and about an hour", a.status, a.header.Get("Retry-After"))
		}
	})
}

func TestHandler_ShadowRefusesNothing(t *testing.T) {
	h := loadZone(t, "", "rate 1/1h\nmode shadow")
	if got := statuses(4, h, "/"); got != "200 200 200 200" {
		t.Errorf("got %s", got)
	}
	if n := h.zones[0].limiter.tally.outcomes[shadowed].Load(); n != 3 {
		t.Errorf("%d requests would have been refused, want 3", n)
	}
}

func TestHandler_Prefixes(t *testing.T) {
	h := loadZone(t, "", "key {http.request.header.IP}\nrate 1/1h\nipv4_prefix 24\nipv6_prefix 64")
	for _, tc := range []struct{ ip, want string }{
		{"192.0.2.1", "200"},
		{"192.0.2.200", "429"},
		{"192.0.3.1", "200"},
		{"::ffff:192.0.2.9", "429"},
		{"2001:db8::1", "200"},
		{"2001:db8::ffff", "429"},
		{"2001:db8:0:1::1", "200"},
		{"fe80::1%eth0", "200"},
		{"not an address", "200"},
	} {
		if got := statuses(1, h, "/", "IP: "+tc.ip); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.ip, got, tc.want)
		}
	}
}

func TestHandler_GCRA(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		h := loadZone(t, url, "rate 3/1h\nalgorithm gcra")
		if got := statuses(4, h, "/"); got != "200 200 200 429" {
			t.Errorf("got %s", got)
		}
		if a := get(h, "/"); a.header.Get("Retry-After") != "1200" && a.header.Get("Retry-After") != "1199" {
			t.Errorf("Retry-After %s, want a third of an hour", a.header.Get("Retry-After"))
		}
	})
}

// hold starts requests that stay under way until finish is called.
func hold(h *Handler, n int) (answers chan int, finish func()) {
	answers = make(chan int, n)
	gate := make(chan struct{})
	next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		answers <- 200
		<-gate
		return nil
	})
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if a := request(h, next, "GET", "/"); a.status != 200 {
				answers <- a.status
			}
		})
	}
	return answers, func() { close(gate); wg.Wait() }
}

func TestHandler_Concurrent(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		h := loadZone(t, url, "concurrent 3")
		answers, finish := hold(h, 8)
		count := map[int]int{}
		for range 8 {
			count[<-answers]++
		}
		if count[200] != 3 || count[429] != 5 {
			t.Errorf("of 8 at once: %v, want 3 let in", count)
		}
		finish()
		if got := get(h, "/").status; got != 200 {
			t.Errorf("after they ended: %d", got)
		}
	})
}

func TestHandler_ConcurrentReleasesOnPanic(t *testing.T) {
	h := loadZone(t, "", "concurrent 1")
	aborting := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) })
	for range 3 {
		func() {
			defer func() { _ = recover() }()
			if a := request(h, aborting, "GET", "/"); a.status == 429 {
				t.Fatal("a panic leaked its permit")
			}
		}()
	}
}

func TestHandler_ConcurrentAcrossNodes(t *testing.T) {
	server := redistest.Start(t)
	block := "rate_limit {\nzone " + zoneName() + " {\nconcurrent 3\n}\n}"
	a, b := newNode(t, server.URL()).mustLoad(block), otherProcess(newNode(t, server.URL()).mustLoad(block))
	_, finish := hold(a, 2)
	eventually(t, "both are under way", func() bool { return a.zones[0].limiter.permits.inUse(KeyOf("")) == 2 })
	answers, finishB := hold(b, 4)
	count := map[int]int{}
	for range 4 {
		count[<-answers]++
	}
	if count[200] != 1 {
		t.Errorf("the second node let %d in, want 1", count[200])
	}
	finishB()
	finish()
	eventually(t, "what ended on one node is free on the other", func() bool {
		answers, done := hold(b, 3)
		defer done()
		in := 0
		for range 3 {
			if <-answers == 200 {
				in++
			}
		}
		return in == 3
	})
}

// A node that died published its count last; when that is over, others may go.
func TestPermits_OfADeadNodeComeFree(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	zone := zoneName()
	dead := newRedisBackend(plainRedis{client}, zone, "dead")
	if granted, _, err := dead.publish(t.Context(), "k", 3, 3); err != nil || granted != 3 {
		t.Fatal(granted, err)
	}
	live := newRedisBackend(plainRedis{client}, zone, "live")
	if granted, tight, err := live.publish(t.Context(), "k", 1, 3); err != nil || granted != 0 || !tight {
		t.Fatalf("while the dead node's permits last: %d, %t, %v, want none", granted, tight, err)
	}
	if err := client.HSet(t.Context(), dead.base("k")+"permits", "dead", "3:1").Err(); err != nil { // its time has passed
		t.Fatal(err)
	}
	if granted, _, err := live.publish(t.Context(), "k", 1, 3); err != nil || granted != 1 {
		t.Errorf("after the dead node's time: %d, %v, want 1", granted, err)
	}
}

func TestPart_Actions(t *testing.T) {
	backends(t, func(t *testing.T, url string) {
		h := loadZone(t, url, "key {http.request.header.X-User}\nrate 3/1h")
		p := &part{zone: h.zones[0], redis: h.redis}
		act := func(action, args string) string {
			v, err := p.Act(context.Background(), action, json.RawMessage(args))
			if err != nil {
				return "error: " + err.Error()
			}
			out, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(out)
		}
		want := func(action, args, part string) {
			t.Helper()
			if got := act(action, args); !strings.Contains(got, part) {
				t.Errorf("%s %s = %s, want %s", action, args, got, part)
			}
		}
		statuses(4, h, "/", "X-User: a")
		want("lookup", `{"key":"a"}`, `"count":3,"remaining":0`)
		want("lookup", `{"key":"b","zone":"`+p.Name()+`"}`, `"count":0,"remaining":3`)
		want("reset", `{"key":"a"}`, `"count":0,"remaining":3`)
		if got := statuses(4, h, "/", "X-User: a"); got != "200 200 200 429" {
			t.Errorf("after a reset: %s", got)
		}
		want("ban", `{"key":"b","duration":"1h"}`, `"banned_for":"1h0m0s"`)
		if got := statuses(1, h, "/", "X-User: b"); got != "429" {
			t.Errorf("banned: %s", got)
		}
		want("unban", `{"key":"b"}`, `"count":0`)
		if got := statuses(1, h, "/", "X-User: b"); got != "200" {
			t.Errorf("after the ban was lifted: %s", got)
		}
		want("lookup", `{}`, "error: key is missing")
		want("lookup", `{"kye":"a"}`, "error: arguments")
		want("ban", `{"key":"a"}`, "error: duration must be")
		want("reset", `{"key":"a","zone":"other"}`, "error: "+gateway.ErrNotMine.Error())
		want("drop", `{"key":"a"}`, "error: "+gateway.ErrUnknownAction.Error())
		if s := p.Snapshot().(snapshot); s.Outcomes["admitted"] != 7 || s.Outcomes["denied"] != 2 || s.Outcomes["banned"] != 1 {
			t.Errorf("snapshot: %+v", s.Outcomes)
		}
		if n, err := testutil.GatherAndCount(h.ctx.GetMetricsRegistry(), "fairway_rate_limit_decisions_total"); err != nil || n < int(outcomes) {
			t.Errorf("metrics: %d series, %v", n, err)
		}
	})
}

func TestHandler_OutageByConfig(t *testing.T) {
	for _, tc := range []struct{ option, want string }{
		{"", "200 200 429"},
		{"on_error local", "200 200 429"},
		{"on_error allow", "200 200 200"},
		{"on_error deny", "429 429 429"},
	} {
		// Nobody listens there.
		h := loadZone(t, "redis://127.0.0.1:1", "rate 2/1h\n"+tc.option)
		if got := statuses(3, h, "/"); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.option, got, tc.want)
		}
	}
}

// What a node admits while Redis is away is charged there when it returns, and
// what Redis forgot is restored by those who know.
func TestHandler_RedisLearnsWhatItMissed(t *testing.T) {
	server := redistest.Start(t)
	h := loadZone(t, server.URL(), "rate 10/1h\nlease off")
	if got := statuses(4, h, "/"); got != "200 200 200 200" {
		t.Fatal(got)
	}
	server.Kill()
	admitted := 4
	for range 3 {
		if get(h, "/").status == 200 {
			admitted++
		}
	}
	server.Restart() // empty
	eventually(t, "redis is back", func() bool { return h.redis.Up() })
	for range 20 {
		if get(h, "/").status == 200 {
			admitted++
		}
	}
	if admitted != 10 {
		t.Errorf("%d admitted of 10/1h over the loss of Redis and of its data, want 10", admitted)
	}
}
