package health

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

func provision(t *testing.T, h *Handler, redisURL string) (*Handler, error) {
	t.Helper()
	cfg := &caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}}
	if redisURL != "" {
		cfg.AppsRaw = caddy.ModuleMap{"fairway": caddyconfig.JSON(map[string]any{"redis": map[string]any{"url": redisURL}}, nil)}
	}
	ctx, err := caddy.ProvisionContext(cfg)
	if err != nil {
		t.Fatal(err)
	}
	bounded, cancel := caddy.NewContext(ctx)
	t.Cleanup(func() {
		cancel()
		if err := h.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return h, h.Provision(bounded)
}

func probe(h *Handler, r *http.Request) (int, map[string]any) {
	w := httptest.NewRecorder()
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	if err := h.ServeHTTP(w, r, nil); err != nil {
		return err.(caddyhttp.HandlerError).StatusCode, nil
	}
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil && r.Method != "HEAD" {
		panic(err)
	}
	return w.Code, body
}

func from(addr string) *http.Request {
	r := httptest.NewRequest("GET", "/health", nil)
	r.RemoteAddr = addr
	return r
}

// service answers with a status that a test may change.
func service(t *testing.T, status int) (*httptest.Server, *atomic.Int64, *atomic.Int64) {
	t.Helper()
	var code, asked atomic.Int64
	code.Store(int64(status))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(code.Load()))
	}))
	t.Cleanup(srv.Close)
	return srv, &code, &asked
}

func TestHandler_SaysWhichCheckFails(t *testing.T) {
	good, _, _ := service(t, 204)
	bad, _, _ := service(t, 503)
	moved, _, _ := service(t, 302)
	no := false
	cases := map[string]struct {
		checks []Check
		status int
		word   string
		want   map[string]bool
	}{
		"all well":       {[]Check{{Kind: "upstream", Name: "users", URL: good.URL}}, 200, "ok", map[string]bool{"users": true}},
		"nothing to ask": {nil, 200, "ok", nil},
		"a needed one fails": {
			[]Check{{Kind: "upstream", Name: "users", URL: bad.URL}, {Kind: "http", Name: "api", URL: good.URL}},
			503, "unavailable",
			map[string]bool{"users": false, "api": true},
		},
		"one that is not needed fails": {
			[]Check{{Kind: "upstream", Name: "users", URL: good.URL}, {Kind: "http", Name: "api", URL: bad.URL, Needed: &no}},
			200, "degraded",
			map[string]bool{"users": true, "api": false},
		},
		"both fail":               {[]Check{{Kind: "upstream", Name: "users", URL: bad.URL}, {Kind: "http", Name: "api", URL: bad.URL, Needed: &no}}, 503, "unavailable", map[string]bool{"users": false, "api": false}},
		"nobody listens":          {[]Check{{Kind: "http", Name: "api", URL: "http://127.0.0.1:1/"}}, 503, "unavailable", map[string]bool{"api": false}},
		"a redirect is no answer": {[]Check{{Kind: "http", Name: "api", URL: moved.URL}}, 503, "unavailable", map[string]bool{"api": false}},
		"off is absent":           {[]Check{{Kind: "redis"}, {Kind: "http", Name: "api", URL: "off"}}, 200, "ok", nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h, err := provision(t, &Handler{Checks: c.checks}, "")
			if err != nil {
				t.Fatal(err)
			}
			status, body := probe(h, from("192.0.2.1:1"))
			if status != c.status || body["status"] != c.word {
				t.Errorf("%d %v, want %d %s", status, body, c.status, c.word)
			}
			for name, want := range c.want {
				if body[name] != want {
					t.Errorf("%s: %v, want %v", name, body[name], want)
				}
			}
			if len(body) != len(c.want)+2 {
				t.Errorf("members %v, want status, timestamp and %v", body, c.want)
			}
			if at, err := time.Parse(time.RFC3339, body["timestamp"].(string)); err != nil || time.Since(at) > time.Minute {
				t.Errorf("timestamp %v", body["timestamp"])
			}
		})
	}
}

func TestHandler_DetailsOnlyToAllowedClients(t *testing.T) {
	bad, _, _ := service(t, 500)
	h, err := provision(t, &Handler{Checks: []Check{{Kind: "http", Name: "api", URL: bad.URL}}, Details: []string{"192.0.2.0/24"}}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, body := probe(h, from("198.51.100.1:1")); body["checks"] != nil {
		t.Errorf("a stranger sees %v", body["checks"])
	}
	_, body := probe(h, from("192.0.2.1:1"))
	api, _ := body["checks"].(map[string]any)["api"].(map[string]any)
	if api["error"] != "status 500" || api["needed"] != true || api["latency_ms"] == nil {
		t.Errorf("details %v", api)
	}
	if snapshot, err := json.Marshal((&part{checks: h.checks}).Snapshot()); err != nil || !strings.Contains(string(snapshot), "status 500") {
		t.Errorf("snapshot %s, %v", snapshot, err)
	}
}

func TestReason_TellsNothingOfTheNetworkBehind(t *testing.T) {
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	for url, want := range map[string]string{
		"http://127.0.0.1:1/": "unreachable", secure.URL: "tls",
	} {
		q, err := newHTTPCheck(url)
		if err != nil {
			t.Fatal(err)
		}
		err = q.ask(t.Context())
		if err == nil || reason(err) != want {
			t.Errorf("%s: %v is %q, want %q", url, err, reason(err), want)
		}
	}
	slow, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	q, err := newHTTPCheck("http://127.0.0.1:1/")
	if err != nil {
		t.Fatal(err)
	}
	if err := q.ask(slow); reason(err) != "timeout" {
		t.Errorf("%v is %q", err, reason(err))
	}
	if got := reason(errors.New("dial tcp 10.0.0.7:5432: connection refused")); got != "unreachable" {
		t.Errorf("got %q", got)
	}
}

func TestHandler_MethodsAndLiveness(t *testing.T) {
	h, err := provision(t, &Handler{Live: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "DELETE": 405} {
		r := from("192.0.2.1:1")
		r.Method = method
		if got, _ := probe(h, r); got != want {
			t.Errorf("%s: %d, want %d", method, got, want)
		}
	}
}

func TestHandler_Redis(t *testing.T) {
	server := redistest.Start(t)
	h, err := provision(t, &Handler{Checks: []Check{{Kind: "redis"}}}, server.URL())
	if err != nil {
		t.Fatal(err)
	}
	if status, body := probe(h, from("192.0.2.1:1")); status != 200 || body["redis"] != true {
		t.Errorf("with redis: %d %v", status, body)
	}
	server.Kill()
	deadline := time.Now().Add(30 * time.Second)
	for {
		status, body := probe(h, from("192.0.2.1:1"))
		if body["redis"] == false {
			if status != 200 || body["status"] != "degraded" {
				t.Errorf("without redis: %d %v, want 200: the gateway works without it", status, body)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody noticed that redis is gone")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestCheck_ProbesDoNotBecomeLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		c := &check{
			timeout: 2 * time.Second, maxAge: time.Second, now: time.Now, report: func(*check, outcome) {},
			ask: func(context.Context) error {
				asked.Add(1)
				time.Sleep(100 * time.Millisecond)
				return nil
			},
		}
		for range 10 { // ten rounds of a hundred probes, 300 ms apart
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					if o := c.result(t.Context(), t.Context()); !o.healthy {
						t.Error("not healthy")
					}
				})
			}
			wg.Wait()
			time.Sleep(300 * time.Millisecond)
		}
		if n := asked.Load(); n != 3 {
			t.Errorf("1000 probes in 3.1 s asked %d times, want 3", n)
		}
	})
}

func TestCheck_HangingIsFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &check{
			timeout: 2 * time.Second, maxAge: time.Second, now: time.Now, report: func(*check, outcome) {},
			ask: func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			},
		}
		start := time.Now()
		if o := c.result(t.Context(), t.Context()); o.healthy || time.Since(start) != 2*time.Second {
			t.Errorf("healthy %v after %s, want a failure after the timeout", o.healthy, time.Since(start))
		}
		impatient, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		time.Sleep(2 * time.Second)
		if o := c.result(impatient, t.Context()); o.healthy || !errors.Is(o.err, context.DeadlineExceeded) {
			t.Errorf("a probe that left: %+v", o)
		}
		time.Sleep(3 * time.Second) // the run ends
	})
}

func TestCheck_ReportsChangesOnly(t *testing.T) {
	var c check
	for i, step := range []struct{ healthy, changed bool }{{true, false}, {true, false}, {false, true}, {false, false}, {true, true}} {
		if changed, _ := c.changes(step.healthy); changed != step.changed {
			t.Errorf("step %d: changed %v", i, changed)
		}
	}
	if changed, was := new(check).changes(false); !changed || was {
		t.Errorf("a first run that fails is news: %v %v", changed, was)
	}
}

func TestProvision_NamesWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		h    Handler
		want string
	}{
		"unknown kind":    {Handler{Checks: []Check{{Kind: "tcp", Name: "x"}}}, `unknown kind "tcp"`},
		"no url":          {Handler{Checks: []Check{{Kind: "http", Name: "x"}}}, `http wants a name and a URL`},
		"bad url":         {Handler{Checks: []Check{{Kind: "http", Name: "x", URL: "ftp://x"}}}, `url "ftp://x"`},
		"url of redis":    {Handler{Checks: []Check{{Kind: "redis", URL: "redis://x"}}}, "redis has no url"},
		"same name twice": {Handler{Checks: []Check{{Kind: "http", Name: "x", URL: "off"}, {Kind: "http", Name: "x", URL: "off"}}}, `check "x" is given twice`},
		"reserved name":   {Handler{Checks: []Check{{Kind: "http", Name: "status", URL: "off"}}}, `the name "status"`},
		"bad timeout":     {Handler{Checks: []Check{{Kind: "http", Name: "x", URL: "off", Timeout: -1}}}, "timeout must be positive"},
		"live and checks": {Handler{Live: true, Checks: []Check{{Kind: "redis"}}}, "live goes without checks"},
		"bad range":       {Handler{Details: []string{"10.0.0.0/99"}}, "10.0.0.0/99"},
		"placeholder":     {Handler{Checks: []Check{{Kind: "http", Name: "x", URL: "{env.NO_SUCH_VARIABLE_HERE}"}}}, "{env.NO_SUCH_VARIABLE_HERE}"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := provision(t, &c.h, ""); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want …%s…", err, c.want)
			}
		})
	}
}

// emptyApp is the fairway app of a config that has nothing else.
func emptyApp(t *testing.T) *gateway.App {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	app, err := gateway.From(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func TestRegister_TwoSitesMayShareAName(t *testing.T) {
	app := emptyApp(t)
	for range 3 {
		if err := register(app, &Handler{Name: "/health"}); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for _, p := range app.Parts() {
		names = append(names, p.Name())
	}
	if got := strings.Join(names, " "); got != "/health /health#2 /health#3" {
		t.Errorf("parts %s", got)
	}
}

func adapt(t *testing.T, text string) (string, error) {
	t.Helper()
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	out, _, err := adapter.Adapt([]byte("http://:1 {\n route {\n"+text+"\n}\n}"), map[string]any{"filename": "Caddyfile"})
	return string(out), err
}

func TestCaddyfile(t *testing.T) {
	got, err := adapt(t, `health /ready {
		redis {
			required
			timeout 50ms
		}
		upstream users http://127.0.0.1:8081/health
		http api https://api.example.com/health {
			timeout 5s
			optional
		}
		details private_ranges
	}
	health /live {
		live
	}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`{"kind":"redis","needed":true,"timeout":50000000}`,
		`{"kind":"upstream","name":"users","url":"http://127.0.0.1:8081/health"}`,
		`{"kind":"http","name":"api","needed":false,"timeout":5000000000,"url":"https://api.example.com/health"}`,
		`"details":["192.168.0.0/16"`, `"name":"/ready"`, `"path":["/ready"]`, `"live":true`, `"path":["/live"]`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("adapted config lacks %s:\n%s", want, got)
		}
	}
	for text, want := range map[string]string{
		"health":                                     "health: want a path",
		"health *":                                   "health: want a path",
		"health /h x":                                "wrong argument count",
		"health /h {\n rediss\n}":                    `health: unknown option "rediss"`,
		"health /h {\n http a\n}":                    "wrong argument count",
		"health /h {\n http a b c\n}":                "wrong argument count",
		"health /h {\n live\n live\n}":               "health: live is given twice",
		"health /h {\n details\n}":                   "wrong argument count",
		"health /h {\n redis {\n x\n}\n}":            `health: redis: unknown option "x"`,
		"health /h {\n redis {\n timeout soon\n}\n}": `health: redis: timeout "soon"`,
		"health /h {\n redis {\n timeout 1s\n timeout 1s\n}\n}":         "health: redis: timeout is given twice",
		"health /h {\n disk data\n}":                                    "wrong argument count",
		"health /h {\n disk data / {\n min_free some\n}\n}":             `min_free "some": want a size`,
		"health /h {\n disk data / {\n min_free 1%\n min_free 2%\n}\n}": "health: disk: min_free is given twice",
		"health /h {\n keys {\n min_free 1%\n}\n}":                      `health: keys: unknown option "min_free"`,
		"health /h {\n redis {\n optional\n required\n}\n}":             "required follows another",
	} {
		if _, err := adapt(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
}
