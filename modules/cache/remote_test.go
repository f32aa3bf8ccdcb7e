package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
)

// node is a site with a store of its own, as another process would have, on a
// Redis that is shared.
func node(t testing.TB, server *redistest.Server, n int, origin originFunc) *site {
	t.Helper()
	app := fmt.Sprintf(`{"redis":{"url":%q,"timeout":"200ms"}}`, server.URL())
	s := newSiteWith(t, fmt.Sprintf("%s-node%d {\n ttl 1m\n}", t.Name(), n), app, origin)
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
	}
	return server, a, b
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
	eventually(t, "entry and list are in Redis", func() bool { return a.inRedis(server) == n+2 })
	asked := b.asked.Load()
	wantText(t, b.get("/x?utm=2&id=1", host), "version 0 for ")
	b.wantAsked(asked)
	a.do("PATCH", "/x?id=1", host)
	eventually(t, "Redis knows of the change", func() bool { return !a.h.remote.outbox.pending() })
	b.h.store.memory.otter.InvalidateAll()
	wantText(t, b.get("/x?id=1&utm=3", host), "version 1 for ")
}
