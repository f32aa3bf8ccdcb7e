package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// node is a site with a store of its own, as another process would have, on a
// Redis that is shared.
func node(t testing.TB, server *redistest.Server, n int, origin originFunc) *site {
	t.Helper()
	return nodeWith(t, server, n, "200ms", "ttl 1m", origin)
}

func nodeWith(t testing.TB, server *redistest.Server, n int, timeout, options string, origin originFunc) *site {
	t.Helper()
	app := fmt.Sprintf(`{"redis":{"url":%q,"timeout":%q}}`, server.URL(), timeout)
	s := newSiteWith(t, fmt.Sprintf("%s-node%d {\n %s\n}", t.Name(), n, options), app, origin)
	// one name in Redis, two in this process
	old := s.h.remote
	m := newRemote(s.h.store, old.redis, t.Name(), fmt.Sprint("node", n))
	s.h.remote, s.h.keys.Name = m, t.Name()
	t.Cleanup(func() { _ = m.Destruct() })
	return s
}

// eventually waits for what happens in the background.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 5s: %s", what)
}

func (s *site) inRedis(server *redistest.Server) int {
	keys, _ := server.Client().Keys(context.Background(), "*:e:*").Result()
	return len(keys)
}

func fleet(t testing.TB, fields ...string) (*redistest.Server, *site, *site) {
	t.Helper()
	server := redistest.Start(t)
	version := 0
	origin := func(w http.ResponseWriter, r *http.Request) error {
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		if r.Method != http.MethodGet {
			version++
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		_, err := fmt.Fprintf(w, "version %d for %s", version, r.Header.Get("Accept-Language"))
		return err
	}
	a, b := node(t, server, 1, origin), node(t, server, 2, origin)
	for _, s := range []*site{a, b} {
		s.get("/warm-up") // the clock of Redis is known after the first look-up
		s.written()
	}
	return server, a, b
}

// written waits until what the site has to write to Redis so far is there.
func (s *site) written() {
	s.t.Helper()
	done := make(chan struct{})
	if !s.h.remote.later(func(context.Context) { close(done) }) {
		s.t.Fatal("the queue of writes is full")
	}
	<-done
}

func TestRemote_IsShared(t *testing.T) {
	for _, vary := range []string{"", "Accept-Language"} {
		t.Run("vary="+vary, func(t *testing.T) {
			server, a, b := fleet(t, "Cache-Control: max-age=60", "X-Inner: 1", "Vary: "+vary)
			n := a.inRedis(server)
			host := "Host: api.example"
			a.get("/x", host, "Accept-Language: en")
			a.get("/x", host, "Accept-Language: de")
			eventually(t, "the entries are in Redis", func() bool { return a.inRedis(server) > n })
			time.Sleep(50 * time.Millisecond)
			asked := b.asked.Load()
			res := b.get("/x", host, "Accept-Language: en")
			wantText(t, res, "version 0 for en")
			if b.asked.Load() != asked || res.Header.Get("X-Inner") != "1" {
				t.Errorf("the second node asked the origin, or lost the header: %v", res.Header)
			}
		})
	}
}

func TestRemote_ChangesReachAllNodes(t *testing.T) {
	server, a, b := fleet(t, "Cache-Control: max-age=60", "Cache-Groups: \"g\"")
	host := "Host: api.example"
	n := a.inRedis(server)
	a.get("/x", host)
	eventually(t, "the entry is in Redis", func() bool { return a.inRedis(server) > n })
	b.get("/x", host)
	a.do("PATCH", "/x", host)
	wantText(t, a.get("/x", host), "version 1 for ")
	start := time.Now()
	eventually(t, "the other node has the new version", func() bool { return b.get("/x", host).text == "version 1 for " })
	t.Logf("the purge reached the other node within %s", time.Since(start))
	// a purge by tag, and a node that has nothing in memory
	a.do("POST", "/y", host)
	if _, err := newPart(a.h, a.app).Act(context.Background(), "purge", json.RawMessage(`{"tag":"g"}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis knows of the purge", func() bool { return !a.h.remote.outbox.pending() })
	b.h.store.memory.otter.InvalidateAll()
	wantText(t, b.get("/x", host), "version 2 for ")
}

func TestRemote_DeadRedisCostsLittle(t *testing.T) {
	server, a, _ := fleet(t, "Cache-Control: max-age=60")
	for _, how := range []struct {
		name         string
		break_, heal func()
	}{
		{"killed", server.Kill, server.Restart},
		{"paused", server.Pause, server.Resume},
	} {
		how.break_()
		start := time.Now()
		for i := range 50 {
			if res := a.get(fmt.Sprintf("/%s/%d", how.name, i)); res.StatusCode != 200 {
				t.Errorf("%s: status %d", how.name, res.StatusCode)
			}
		}
		// three time-outs of 200 ms until Redis counts as down, not 50
		if d := time.Since(start); d > 8*time.Second {
			t.Errorf("%s: 50 requests took %s", how.name, d)
		}
		// what changes now must not come back from Redis afterwards
		a.do("PATCH", "/"+how.name+"/1")
		how.heal()
		eventually(t, "Redis is back and knows of the change", func() bool {
			return a.h.remote.redis.Up() && !a.h.remote.outbox.pending()
		})
	}
}

func TestRemote_ChangesDuringAnOutageAreNotUndone(t *testing.T) {
	server, a, _ := fleet(t, "Cache-Control: max-age=60")
	n := a.inRedis(server)
	a.get("/x")
	eventually(t, "the entry is in Redis", func() bool { return a.inRedis(server) > n })
	server.Pause()
	a.do("PATCH", "/x")
	a.h.store.memory.otter.InvalidateAll()
	server.Resume()
	for range 20 {
		wantText(t, a.get("/x"), "version 1 for ")
		a.h.store.memory.otter.InvalidateAll()
		time.Sleep(10 * time.Millisecond)
	}
}

// Softly purged, an entry stays in Redis as a stale one: it answers if the origin
// fails, and not otherwise.
func TestRemote_SoftPurgeKeepsTheCopyAsStale(t *testing.T) {
	for _, purge := range []string{`{"url":"http://api.example/x","soft":true}`, `{"tag":"t","soft":true}`, `{"prefix":"http://api.example/","soft":true}`, `{"all":true,"soft":true}`} {
		server := redistest.Start(t)
		fail := false
		origin := func(w http.ResponseWriter, r *http.Request) error {
			if fail {
				return caddyhttp.Error(http.StatusBadGateway, io.ErrUnexpectedEOF)
			}
			w.Header().Set("Cache-Control", "max-age=60, stale-if-error=60")
			w.Header().Set("Cache-Tag", "t")
			_, err := io.WriteString(w, "body")
			return err
		}
		a := node(t, server, 1, origin)
		host := "Host: api.example"
		a.get("/warm-up", host)
		n := a.inRedis(server)
		a.get("/x", host)
		eventually(t, "the entry is in Redis", func() bool { return a.inRedis(server) > n })
		if _, err := newPart(a.h, a.app).Act(context.Background(), "purge", json.RawMessage(purge)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Redis knows of the purge", func() bool { return !a.h.remote.outbox.pending() })
		a.h.store.memory.otter.InvalidateAll()
		fail = true
		if res := a.get("/x", host); res.text != "body" || !strings.Contains(res.Header.Get("Cache-Status"), "stale-if-error") {
			t.Errorf("%s: got %d %q, %s", purge, res.StatusCode, res.text, res.Header.Get("Cache-Status"))
		}
		a.h.store.memory.otter.InvalidateAll()
		if res := a.get("/x", host, "Cache-Control: only-if-cached"); res.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("%s: what was purged softly answers with %d as if it were fresh", purge, res.StatusCode)
		}
	}
}

func TestRemote_NoVarySearchIsShared(t *testing.T) {
	server, a, b := fleet(t, "Cache-Control: max-age=60", `No-Vary-Search: params=("utm")`)
	host := "Host: api.example"
	n := a.inRedis(server)
	a.get("/x?id=1&utm=1", host)
	eventually(t, "entry and list are in Redis", func() bool { return a.inRedis(server) >= n+2 })
	asked := b.asked.Load()
	wantText(t, b.get("/x?utm=2&id=1", host), "version 0 for ")
	b.wantAsked(asked)
	a.do("PATCH", "/x?id=1", host)
	eventually(t, "Redis knows of the change", func() bool { return !a.h.remote.outbox.pending() })
	b.h.store.memory.otter.InvalidateAll()
	wantText(t, b.get("/x?id=1&utm=3", host), "version 1 for ")
}

// lockedFleet is three nodes that wait for each other, on one origin. A busy
// machine must not make them give up on Redis where timeout is long.
func lockedFleet(t *testing.T, timeout, options string, origin originFunc) (*redistest.Server, []*site, *atomic.Int64) {
	t.Helper()
	server, asked := redistest.Start(t), new(atomic.Int64)
	var nodes []*site
	for i := range 3 {
		s := nodeWith(t, server, i, timeout, options, func(w http.ResponseWriter, r *http.Request) error {
			if r.URL.Path == "/warm-up" {
				return nil
			}
			asked.Add(1)
			return origin(w, r)
		})
		s.get("/warm-up")
		nodes = append(nodes, s)
	}
	return server, nodes, asked
}

// everywhere sends n requests to each node at the same time.
func everywhere(nodes []*site, n int, fields ...string) []answer {
	answers := make([][]answer, len(nodes))
	var wg sync.WaitGroup
	for i, s := range nodes {
		wg.Go(func() {
			requests := make([][]string, n)
			for j := range requests {
				requests[j] = append([]string{"Host: api.example"}, fields...)
			}
			answers[i] = s.together("/x", requests...)
		})
	}
	wg.Wait()
	return slices.Concat(answers...)
}

func TestLock_OneRequestOfTheFleet(t *testing.T) {
	_, nodes, asked := lockedFleet(t, "10s", "l2 {\n lock 10s\n}", func(w http.ResponseWriter, _ *http.Request) error {
		time.Sleep(200 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.WriteString(w, "body")
		return err
	})
	for _, a := range everywhere(nodes, 20) {
		wantText(t, a, "body")
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times, want once", n)
	}
}

// A response that may not be shared is waited for at most once.
func TestLock_NothingToShare(t *testing.T) {
	_, nodes, asked := lockedFleet(t, "10s", "l2 {\n lock 20s\n}", func(w http.ResponseWriter, r *http.Request) error {
		time.Sleep(50 * time.Millisecond)
		w.Header().Set("Cache-Control", "no-store")
		_, err := io.WriteString(w, r.Header.Get("Cookie"))
		return err
	})
	start := time.Now()
	for _, a := range everywhere(nodes, 5, "Cookie: mine") {
		wantText(t, a, "mine")
	}
	if n, took := asked.Load(), time.Since(start); n != 15 || took > 15*time.Second {
		t.Errorf("the origin was asked %d times in %s, want 15 times and no wait for the lock's end", n, took)
	}
}

// A node that dies with the lock, and a Redis that stops, hold up nobody for
// longer than the lock.
func TestLock_HasADeadline(t *testing.T) {
	server, nodes, asked := lockedFleet(t, "200ms", "l2 {\n lock 300ms\n}", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.WriteString(w, "body")
		return err
	})
	r := httptest.NewRequest("GET", "http://api.example/x", nil)
	r.Host = "api.example"
	x := nodes[0].h.newExchange(nil, caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server)), nil)
	dead := nodes[0].h.remote.lockKey(x.p.full)
	if err := server.Client().Set(context.Background(), dead, "someone who died", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	wantText(t, nodes[1].get("/x", "Host: api.example"), "body")
	if took := time.Since(start); took < 100*time.Millisecond || took > 10*time.Second {
		t.Errorf("waited %s for a lock of 300ms", took)
	}
	server.Pause()
	defer server.Resume()
	start = time.Now()
	wantText(t, nodes[2].get("/y", "Host: api.example"), "body")
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("waited %s for a Redis that does not answer", took)
	}
	if asked.Load() != 2 {
		t.Errorf("the origin was asked %d times, want 2", asked.Load())
	}
}
