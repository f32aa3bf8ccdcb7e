package cache

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Several lines of a field must not pass for another field.
func TestNever_LinesPassForFields(t *testing.T) {
	names := []string{"Cookie", "Origin"}
	for _, pair := range [][2]http.Header{
		{{"Cookie": {"a"}, "Origin": {"b", "Origin"}}, {"Cookie": {"a", "Origin:b"}}},
		{{"Cookie": {"a", "b"}}, {"Cookie": {"l1:a\nl1:b"}}},
		{{"Cookie": {"ab", ""}}, {"Cookie": {"a", "b"}}},
		{{"Cookie": {"a", "b"}}, {"Cookie": {"a", "c"}}},
	} {
		one, two := appendVariant(nil, names, pair[0]), appendVariant(nil, names, pair[1])
		if string(one) == string(two) {
			t.Errorf("%v and %v are one variant: %q", pair[0], pair[1], one)
		}
	}
	rules := (&Key{Headers: []string{"User-Agent"}}).rules()
	one, _, _ := rules.Append(nil, &Target{}, http.Header{"User-Agent": {"a"}, "X-Forwarded-Host": {"evil"}})
	two, _, _ := rules.Append(nil, &Target{}, http.Header{"User-Agent": {"a", "f16:X-Forwarded-Host", "v4:evil"}})
	if string(one) == string(two) {
		t.Errorf("two requests have the key %q", one)
	}
}

// A client certificate is a credential: what the origin does not say to be for
// all is for nobody else.
func TestNever_ClientCertificatesShare(t *testing.T) {
	for _, fields := range [][]string{{}, {"Cache-Control: max-age=60"}} {
		s := newSite(t, "{\n ttl 1m\n}", personal(20*time.Millisecond, fields...))
		s.outer = func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-User") != "" {
				r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
			}
		}
		for range 2 {
			for i, a := range s.together("/", []string{"X-User: ann"}, []string{"X-User: bob"}) {
				wantText(t, a, "||"+[]string{"ann", "bob"}[i]+"||")
			}
		}
		s.wantAsked(4)
	}
}

// Requests for what has no path are in no key: "a:b" and "a:c" would share one.
func TestNever_TargetsWithoutPathsShare(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.WriteString(w, r.RequestURI)
		return err
	})
	for range 2 {
		for _, target := range []string{"a:b", "a:c", "*"} {
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: same\r\nConnection: close\r\n\r\n", target)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			conn.Close()
			if string(text) != target {
				t.Errorf("%s was answered with what %s gets", target, text)
			}
		}
	}
	s.wantAsked(6)
}

// What nobody may store is not waited for, so that nobody can make others queue
// behind requests with no-store.
func TestNever_OthersWaitForNoStore(t *testing.T) {
	inside, release := make(chan struct{}), make(chan struct{})
	s := newSite(t, "{\n collapse_wait 1h\n}", func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("Cache-Control") != "" {
			close(inside)
			<-release
		}
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.WriteString(w, "text")
		return err
	})
	done := make(chan answer)
	go func() { done <- s.get("/", "Cache-Control: no-store") }()
	<-inside
	wantText(t, s.get("/"), "text") // would wait an hour
	close(release)
	wantText(t, <-done, "text")
}

// A body that stalls holds up those who stream it, but nobody who comes later.
func TestNever_AStalledBodyBlocksOthers(t *testing.T) {
	s, release, done := halted(t, "{\n collapse_wait 20ms\n}", "half ")
	time.Sleep(50 * time.Millisecond) // the stall
	wantText(t, s.get("/x"), "version 2")
	close(release)
	wantText(t, <-done, "half version 1")
}

// Whoever invents URLs or values of fields fills no more memory than there is
// for the cache, and no more variants than are allowed.
func TestHostile_FloodsAreBounded(t *testing.T) {
	const limit = 1 << 20
	s := newSite(t, "{\n max_size 1MiB\n vary_limit 4\n}", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.RawQuery == "" {
			w.Header().Set("Vary", "X-Any")
		}
		_, err := io.WriteString(w, strings.Repeat("y", 512))
		return err
	})
	for i := range 1500 {
		s.get("/?" + strings.Repeat("x", 1024) + fmt.Sprint(i))
	}
	otter := s.h.store.memory.otter
	otter.CleanUp()
	if got := otter.WeightedSize(); got > limit || got < limit/4 {
		t.Errorf("%d bytes are kept, want at most %d", got, limit)
	}
	otter.InvalidateAll()
	for i := range 100 {
		s.get("/", fmt.Sprintf("X-Any: %d", i))
	}
	otter.CleanUp()
	if got := otter.EstimatedSize(); got > 5 {
		t.Errorf("%d entries are kept of one URL, want 4 variants and their index", got)
	}
	if n := len(s.h.store.flights.by); n > 0 {
		t.Errorf("%d flights are left over", n)
	}
}

// Two users, and nobody, keep apart what they kept apart before a reload, also
// by a config that lets users share.
func TestNever_UsersShareAfterAReload(t *testing.T) {
	origin := personal(20*time.Millisecond, "Cache-Control: public, max-age=60")
	first := newSite(t, "reloaded", origin)
	first.outer = user
	for i, a := range first.together("/", []string{"X-User: root"}, []string{"X-User: ann"}) {
		wantText(t, a, "||"+[]string{"root", "ann"}[i]+"||")
	}
	for _, block := range []string{"reloaded", "reloaded {\n shared\n}"} {
		next := newSite(t, block, origin)
		next.outer = user
		for _, name := range []string{"bob", "ann"} {
			got := next.get("/", "Host: "+first.Listener.Addr().String(), "X-User: "+name).text
			if strings.Contains(got, "root") || block == "reloaded" && got != "||"+name+"||" {
				t.Errorf("%s: %s got %q", block, name, got)
			}
		}
	}
}
