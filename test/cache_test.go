package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// ledger is an origin of things with versions. A change of one, PATCH, makes its
// next version; each client is answered with its own name.
type ledger struct {
	addr string

	mu       sync.Mutex
	versions map[string]int
	asked    map[string]int // by path and client
}

func startLedger(t testing.TB) *ledger {
	t.Helper()
	l := &ledger{versions: make(map[string]int), asked: make(map[string]int)}
	s := httptest.NewServer(l)
	l.addr = strings.TrimPrefix(s.URL, "http://")
	t.Cleanup(s.Close)
	return l
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who := r.Header.Get("Authorization")
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Method == http.MethodPatch {
		l.versions[r.URL.Path]++
		fmt.Fprint(w, l.versions[r.URL.Path])
		return
	}
	l.asked[r.URL.Path+" "+who]++
	switch {
	case strings.HasPrefix(r.URL.Path, "/mine"):
		w.Header().Set("Cache-Control", "max-age=600") // says nothing of sharing
	default:
		w.Header().Set("Cache-Control", "public, max-age=600")
		who = ""
	}
	fmt.Fprintf(w, "%d %s", l.versions[r.URL.Path], who)
}

func (l *ledger) version(path string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.versions[path]
}

func (l *ledger) times(path, who string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked[path+" "+who]
}

// cacheConfig is a site with little but a cache.
func cacheConfig(redis, origin, options string) string {
	if redis != "" {
		redis = "\tfairway {\n\t\tredis " + redis + " {\n\t\t\ttimeout 50ms\n\t\t}\n\t}\n"
	}
	return "{\n\tadmin {$FAIRWAY_ADMIN}\n\tauto_https off\n\tgrace_period 30s\n\tdefault_bind keep/{$FAIRWAY_BIND}\n" + redis + "}\nhttp://{$FAIRWAY_LISTEN} {\n\troute {\n\t\tcache " + options +
		"\n\t\treverse_proxy " + origin + "\n\t}\n}\n"
}

// Reloads, good and rejected, in the middle of traffic of several users: nobody
// gets another's answer, nothing is lost from the cache, no request fails.
func TestCache_ReloadsUnderLoad(t *testing.T) {
	o := startLedger(t)
	config := func(version int) string { return cacheConfig("", o.addr, fmt.Sprintf("{\n ttl %ds\n}", 60+version)) }
	g := startGateway(t, config(0))
	const things = 20
	for i := range things {
		get(fmt.Sprintf("%s/thing/%d", g.url, i)).send(t).want(t, http.StatusOK)
	}
	load := startTraffic(t, 4, func(worker, n int) request {
		if n%2 == 0 {
			return get(fmt.Sprintf("%s/thing/%d", g.url, n%things))
		}
		return get(g.url+"/mine").with("Authorization", "user-"+strconv.Itoa(worker))
	}, func(a answer) error {
		if want := a.to.header["Authorization"]; a.status != http.StatusOK || strings.TrimPrefix(a.body, "0 ") != want {
			return fmt.Errorf("got %d %q, want that of %q", a.status, a.body, want)
		}
		return nil
	})
	for version := 1; version <= 10; version++ {
		load.flow(t, 20)
		g.load(config(version)).want(t, http.StatusOK)
		if a := g.load(strings.Replace(config(version), "ttl ", "force_ttl 1s\n ttl ", 1)); a.status < 400 {
			t.Errorf("a config with both ttl and force_ttl was accepted: %s", a)
		}
	}
	load.flow(t, 50)
	load.end(t)
	for i := range things {
		if n := o.times(fmt.Sprintf("/thing/%d", i), ""); n != 1 {
			t.Errorf("thing %d was fetched %d times, want once: reloads keep the cache", i, n)
		}
	}
}

// A redis-server that is killed, and one that stops answering, in mid-traffic:
// no errors, no long waits, and nothing that was changed comes back.
func TestCache_RedisKilledAndPausedUnderTraffic(t *testing.T) {
	redis, o := redistest.Start(t), startLedger(t)
	config := cacheConfig(redis.URL(), o.addr, "")
	g := startGateway(t, config)
	path := func(i int) string { return fmt.Sprintf("/thing/%d", i) }
	const things, slowest = 20, 5 * time.Second

	load := startTraffic(t, 4, func(worker, n int) request {
		// each worker changes its own things and reads all
		if n%10 == 9 {
			return request{method: http.MethodPatch, url: g.url + path(worker*5+n/10%5)}.with("Host", "same.example")
		}
		return get(g.url+path(rand.IntN(things))).with("Host", "same.example")
	}, func(a answer) error {
		if a.status != http.StatusOK || a.took > slowest {
			return fmt.Errorf("got %d after %s", a.status, a.took)
		}
		return nil
	})
	for range 2 {
		load.flow(t, 200)
		redis.Kill()
		load.flow(t, 200)
		redis.Restart()
		load.flow(t, 200)
		redis.Pause()
		load.flow(t, 200)
		redis.Resume()
	}
	load.flow(t, 200)
	load.end(t)

	// what was changed is changed, here and for a gateway that has but Redis
	eventually(t, "all purges are delivered", func() error {
		var state map[string]struct {
			Up          bool `json:"redis_up"`
			Undelivered int  `json:"undelivered_purges"`
		}
		if err := json.Unmarshal([]byte(get(g.admin+"/fairway/cache").send(t).body), &state); err != nil {
			return err
		}
		if s := state["default"]; !s.Up || s.Undelivered > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	other, hits := startGateway(t, config), make(map[*gateway]int)
	for _, at := range []*gateway{g, other} {
		for i := range things {
			a := get(at.url+path(i)).with("Host", "same.example").send(t).want(t, http.StatusOK)
			if want := fmt.Sprintf("%d ", o.version(path(i))); a.body != want {
				t.Errorf("%s is %q, want %q (%s)", path(i), a.body, want, a.header.Get("Cache-Status"))
			}
			if strings.Contains(a.header.Get("Cache-Status"), "hit") {
				hits[at]++
			}
		}
		if hits[at] == 0 {
			t.Error("nothing came from a cache, so nothing was shown")
		}
	}
}

// The operator's list of URLs is fetched through the site's handlers, each once
// with each encoding.
func TestCache_WarmUp(t *testing.T) {
	o := startLedger(t)
	g := startGateway(t, cacheConfig("", o.addr, ""))
	list := fmt.Sprintf("urls=%[1]s/thing/1 %[1]s/thing/2\n%[1]s/mine", g.url)
	out, code := run(t, t.TempDir(), fairway(t), "warm", list, "--json", "--address", strings.TrimPrefix(g.admin, "http://"))
	if code != 0 || !strings.Contains(out, `"cached":3`) {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, path := range []string{"/thing/1", "/thing/2", "/mine"} {
		get(g.url+path).send(t).want(t, http.StatusOK).wantHeader(t, "Cache-Status", "Fairway; hit")
		if n := o.times(path, ""); n != 1 {
			t.Errorf("%s was fetched %d times, want once", path, n)
		}
	}
	for args, want := range map[string]string{
		`{"urls":["/relative"]}`:             "/relative",
		`{"urls":[]}`:                        "want 1 to",
		`{"url":"http://x/"}`:                `unknown field \"url\"`,
		`{"urls":"` + g.url + `:x/"}`:        "absolute",
		`{"urls":"http://127.0.0.1:1/none"}`: "no server",
	} {
		if a := post(g.admin+"/fairway/cache/warm", args).send(t); !strings.Contains(a.body, want) {
			t.Errorf("%s: got %s, want %q in it", args, a, want)
		}
	}
}

// With encode inside the cache each encoding is stored once and not made again.
func TestCache_KeepsEachEncodingOnce(t *testing.T) {
	text := strings.Repeat("the same words again and again. ", 500)
	var mu sync.Mutex
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		asked++
		mu.Unlock()
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Etag", `"v1"`)
		_, _ = io.WriteString(w, text)
	}))
	defer s.Close()
	g := startGateway(t, cacheConfig("", strings.TrimPrefix(s.URL, "http://"), "\n\t\tencode br zstd gzip"))
	encodings := []string{"br", "zstd", "gzip", ""}
	first := make(map[string]answer)
	for round := range 3 {
		for _, encoding := range encodings {
			r := get(g.url + "/")
			if encoding != "" {
				r = r.with("Accept-Encoding", encoding)
			}
			a := r.send(t).want(t, http.StatusOK)
			etag := `"v1"`
			if encoding != "" {
				etag = `"v1-` + encoding + `"`
			}
			if a.header.Get("Content-Encoding") != encoding || a.header.Get("Etag") != etag || !strings.Contains(a.header.Get("Vary"), "Accept-Encoding") {
				t.Errorf("%q: got %v", encoding, a.header)
			}
			if round == 0 {
				first[encoding] = a
				if (encoding == "") != (a.body == text) {
					t.Errorf("%q: %d bytes of %d", encoding, len(a.body), len(text))
				}
				continue
			}
			a.wantHeader(t, "Cache-Status", "Fairway; hit")
			if a.body != first[encoding].body {
				t.Errorf("%q: a hit has other bytes than the first answer", encoding)
			}
			r.with("If-None-Match", etag).send(t).want(t, http.StatusNotModified)
		}
	}
	if mu.Lock(); asked != len(encodings) {
		t.Errorf("the origin was asked %d times, want once for each of %q", asked, encodings)
	}
	mu.Unlock()
}
