package cache

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// expire makes everything that is in memory older.
func (s *site) expire(by time.Duration) {
	for at, e := range s.h.store.memory.otter.All() {
		if e.index() != nil {
			continue
		}
		c := e.withBody(e.body)
		c.born -= by.Milliseconds()
		c.expires -= by.Milliseconds()
		for _, end := range []*int64{&c.swr, &c.sie, &c.lost} {
			if *end != 0 {
				*end -= by.Milliseconds()
			}
		}
		s.h.store.memory.put(at, c)
	}
}

func TestStale_WhileRevalidate(t *testing.T) {
	for _, tc := range []struct {
		name, block, control string
		age                  time.Duration
		stale                bool
	}{
		{"by directive", "", "max-age=10, stale-while-revalidate=10", 15 * time.Second, true},
		{"by directive, too late", "", "max-age=10, stale-while-revalidate=10", 21 * time.Second, false},
		{"by option", "{\n stale_while_revalidate 10s\n}", "max-age=10", 15 * time.Second, true},
		{"directive wins over option", "{\n stale_while_revalidate 10s\n}", "max-age=10, stale-while-revalidate=1", 15 * time.Second, false},
		{"must-revalidate", "{\n stale_while_revalidate 10s\n}", "max-age=10, must-revalidate, stale-while-revalidate=10", 15 * time.Second, false},
		{"s-maxage and option", "{\n stale_while_revalidate 10s\n}", "s-maxage=10", 15 * time.Second, false},
		{"s-maxage and directive", "", "s-maxage=10, stale-while-revalidate=10", 15 * time.Second, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := cacheable(t, tc.block, "Cache-Control: "+tc.control)
			s.get("/")
			s.expire(tc.age)
			a := s.get("/")
			want := "response 2"
			if tc.stale {
				want = "response 1"
			}
			wantText(t, a, want)
			if tc.stale {
				if got := a.Header.Get("Cache-Status"); !strings.Contains(got, "ttl=-5") {
					t.Errorf("Cache-Status = %q, want a negative ttl", got)
				}
				eventually(t, "a new response is stored", func() bool { return s.get("/").text == "response 2" })
			}
			s.wantAsked(2)
		})
	}
}

func TestStale_RefreshIsTheSameRequest(t *testing.T) {
	var last atomic.Pointer[http.Request]
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		last.Store(r)
		w.Header().Set("Cache-Control", "public, max-age=10, stale-while-revalidate=10")
		_, err := io.WriteString(w, who(r)+caddyhttp.GetVar(r.Context(), "mine").(string))
		return err
	})
	s.outer = func(w http.ResponseWriter, r *http.Request) {
		user(w, r)
		caddyhttp.SetVar(r.Context(), "mine", r.Header.Get("X-User"))
	}
	for _, name := range []string{"ann", "bob"} {
		s.get("/x?y", "X-User: "+name)
	}
	s.expire(15 * time.Second)
	for _, name := range []string{"ann", "bob"} {
		wantText(t, s.get("/x?y", "X-User: "+name), "||"+name+"||"+name)
	}
	eventually(t, "both are refreshed", func() bool { return s.asked.Load() == 4 })
	for _, name := range []string{"ann", "bob"} {
		eventually(t, "the new response is stored for "+name, func() bool {
			a := s.get("/x?y", "X-User: "+name)
			return a.text == "||"+name+"||"+name && !strings.Contains(a.Header.Get("Cache-Status"), "ttl=-")
		})
	}
	if r := last.Load(); r.URL.RequestURI() != "/x?y" {
		t.Errorf("the refresh asked for %s", r.URL)
	}
}

func TestStale_IfError(t *testing.T) {
	status := func(n int) originFunc {
		return func(w http.ResponseWriter, r *http.Request) error {
			w.WriteHeader(n)
			_, err := io.WriteString(w, "error")
			return err
		}
	}
	failing := func(err error) originFunc {
		return func(http.ResponseWriter, *http.Request) error { return err }
	}
	unreachable := failing(caddyhttp.Error(502, errors.New("no connection")))
	for _, tc := range []struct {
		name, block, control string
		age                  time.Duration
		then                 originFunc
		stale                bool
	}{
		{"503 by directive", "", "max-age=10, stale-if-error=60", 15 * time.Second, status(503), true},
		{"500 by option", "{\n stale_if_error 1m\n}", "max-age=10", 15 * time.Second, status(500), true},
		{"404 is an answer", "", "max-age=10, stale-if-error=60", 15 * time.Second, status(404), false},
		{"501 is an answer", "", "max-age=10, stale-if-error=60", 15 * time.Second, status(501), false},
		{"too late", "", "max-age=10, stale-if-error=60", 2 * time.Minute, status(503), false},
		{"not allowed", "", "max-age=10", 15 * time.Second, status(503), false},
		{"must-revalidate", "{\n stale_if_error 1m\n}", "max-age=10, must-revalidate", 15 * time.Second, status(503), false},
		{"no-cache", "{\n stale_if_error 1m\n}", "max-age=10, no-cache", 15 * time.Second, status(503), false},
		{"unreachable", "", "max-age=10", 15 * time.Second, unreachable, true},
		{"unreachable, switched off", "{\n stale_if_disconnected off\n}", "max-age=10", 15 * time.Second, unreachable, false},
		{"unreachable for too long", "", "max-age=10", 2 * time.Minute, unreachable, false},
		{"unreachable, s-maxage", "", "s-maxage=10", 15 * time.Second, unreachable, false},
		{"refused", "", "max-age=10, stale-if-error=60", 15 * time.Second, failing(caddyhttp.Error(403, errors.New("no"))), false},
		{"no word on freshness", "{\n stale_if_error 1m\n}", "", 15 * time.Second, status(503), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s *site
			s = newSite(t, tc.block, func(w http.ResponseWriter, r *http.Request) error {
				if s.asked.Load() > 1 {
					return tc.then(w, r)
				}
				w.Header().Set("Cache-Control", tc.control)
				w.Header().Set("Etag", `"1"`)
				return s.counted(w)
			})
			s.get("/")
			s.expire(tc.age)
			a := s.get("/")
			if got := a.text == "response 1" && a.StatusCode == 200; got != tc.stale {
				t.Errorf("stale response = %v, want %v (status %d, %q)", got, tc.stale, a.StatusCode, a.text)
			}
			s.wantAsked(2)
		})
	}
}

func TestValidate_Freshens(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		n := s.asked.Load()
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("Etag", `"1-gzip"`)
		w.Header().Set("X-Version", fmt.Sprint(n))
		if r.Header.Get("If-None-Match") == `"1-gzip"` {
			w.Header().Set("Etag", `"1"`) // encode takes its suffix off
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		w.Header().Set("X-First", "yes")
		w.Header().Set("Content-Encoding", "gzip")
		return s.counted(w)
	})
	s.get("/")
	s.expire(15 * time.Second)
	a := s.get("/")
	wantText(t, a, "response 1")
	for name, want := range map[string]string{"X-Version": "2", "X-First": "yes", "Etag": `"1-gzip"`, "Content-Encoding": "gzip", "Age": "0"} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if got := a.Header.Get("Cache-Status"); got != "Fairway; hit; fwd=stale; fwd-status=304; stored" {
		t.Errorf("Cache-Status = %q", got)
	}
	s.get("/")
	s.wantAsked(2)
	// the client's own condition is judged by us, not sent on
	s.expire(15 * time.Second)
	if a := s.get("/", `If-None-Match: "0", W/"1-gzip"`); a.StatusCode != 304 {
		t.Errorf("status = %d, want 304", a.StatusCode)
	}
	s.expire(15 * time.Second)
	if a := s.get("/", `If-None-Match: "0"`); a.StatusCode != 200 || a.text != "response 1" {
		t.Errorf("got %d %q, want the stored response", a.StatusCode, a.text)
	}
}

func TestValidate_AnswerOfAnotherRepresentationIsNotUsed(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=10")
		if r.Header.Get("If-None-Match") != "" {
			w.Header().Set("Etag", `"2"`)
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		w.Header().Set("Etag", `"1"`)
		return s.counted(w)
	})
	s.get("/")
	s.expire(15 * time.Second)
	wantText(t, s.get("/"), "response 3")
}

func TestPost_AnswersGetIfItSaysSo(t *testing.T) {
	for _, tc := range []struct {
		location, control string
		stored            bool
	}{
		{"/a", "max-age=60", true},
		{"", "max-age=60", false},
		{"/b", "max-age=60", false},
		{"/a", "", false},
		{"/a", "no-store", false},
		{"http://other.example/a", "max-age=60", false},
	} {
		var s *site
		s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
			if tc.location != "" {
				w.Header().Set("Content-Location", tc.location)
			}
			if tc.control != "" {
				w.Header().Set("Cache-Control", tc.control)
			}
			return s.counted(w)
		})
		s.do("POST", "/a")
		if got := s.get("/a").text == "response 1"; got != tc.stored {
			t.Errorf("Content-Location %q, Cache-Control %q: stored = %v, want %v", tc.location, tc.control, got, tc.stored)
		}
		s.do("POST", "/a")
		if n := s.asked.Load(); n < 2 {
			t.Errorf("a POST was answered from the cache")
		}
	}
}

// While a POST is under way, only a purge of what it answers keeps its response
// out of the cache.
func TestStale_PostAndPurges(t *testing.T) {
	for _, tc := range []struct {
		name   string
		purge  Purge
		stored bool
	}{
		{"another URL", Purge{Kind: kindURL, Target: "SITE/b"}, true},
		{"another tag", Purge{Kind: kindTag, Target: tagTarget("", "other")}, true},
		{"another prefix", Purge{Kind: kindPrefix, Target: "SITE/b"}, true},
		{"its URL", Purge{Kind: kindURL, Target: "SITE/a"}, false},
		{"its tag", Purge{Kind: kindTag, Target: tagTarget("", "red")}, false},
		{"its prefix, softly", Purge{Kind: kindPrefix, Target: "SITE/a", Soft: true}, false},
		{"all", Purge{Kind: kindAll}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s *site
			s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
				if r.Method == http.MethodPost {
					purge := tc.purge
					purge.Target = strings.Replace(purge.Target, "SITE", r.Host, 1)
					s.h.store.purges.Apply(purge)
				}
				w.Header().Set("Content-Location", "/a")
				w.Header().Set("Cache-Control", "max-age=60")
				w.Header().Set("Cache-Tag", "red")
				return s.counted(w)
			})
			s.get("/a")
			s.do("POST", "/a")
			want := "response 3"
			if tc.stored {
				want = "response 2"
			}
			wantText(t, s.get("/a"), want)
		})
	}
}

// A soft purge opens no window in which what it hit may be used.
func TestStale_SoftPurge(t *testing.T) {
	for _, tc := range []struct {
		control       string
		failing, want string
	}{
		{"max-age=60", "<502>", "response 2"},
		{"max-age=60, stale-if-error=60", "response 1", "response 2"},
		{"max-age=60, stale-while-revalidate=60", "response 1", "response 1"},
		{"max-age=60, must-revalidate", "<502>", "response 2"},
	} {
		var fail atomic.Bool
		var s *site
		s = newSite(t, "{\n stale_if_disconnected off\n}", func(w http.ResponseWriter, r *http.Request) error {
			if fail.Load() {
				return caddyhttp.Error(http.StatusBadGateway, io.ErrUnexpectedEOF)
			}
			w.Header().Set("Cache-Control", tc.control)
			return s.counted(w)
		})
		s.get("/a")
		s.asked.Store(0)
		s.get("/b")
		s.h.purge(Purge{Kind: kindAll, Soft: true})
		wantText(t, s.get("/b"), tc.want)
		fail.Store(true)
		got := s.get("/a")
		if got.StatusCode == http.StatusBadGateway {
			got.text = "<502>"
		}
		if tc.control != "max-age=60, stale-while-revalidate=60" {
			wantText(t, got, tc.failing)
		}
	}
}
