package cache

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// together sends requests at the same time, one for each set of fields, and
// returns the answers in that order.
func (s *site) together(path string, requests ...[]string) []answer {
	s.t.Helper()
	answers := make([]answer, len(requests))
	var wg sync.WaitGroup
	for i, fields := range requests {
		wg.Go(func() {
			var err error
			if answers[i], err = s.try(http.MethodGet, path, fields...); err != nil {
				answers[i].text = "<" + err.Error() + ">"
			}
		})
	}
	wg.Wait()
	return answers
}

// personal is an origin that takes its time and answers with who asked.
func personal(wait time.Duration, fields ...string) originFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		select {
		case <-time.After(wait):
		case <-r.Context().Done():
			return r.Context().Err()
		}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			w.Header().Add(name, value)
		}
		_, err := io.WriteString(w, who(r))
		return err
	}
}

func who(r *http.Request) string {
	var b strings.Builder
	for _, name := range []string{"Authorization", "Cookie", "X-User", "X-Tenant"} {
		b.WriteString(r.Header.Get(name) + "|")
	}
	return b.String()
}

// pairs are two requests that must not get each other's answers.
var pairs = map[string][2]string{
	"authorization": {"Authorization: Bearer ann", "Authorization: Bearer bob"},
	"user":          {"X-User: ann", "X-User: bob"},
	"admin first":   {"X-User: root", "X-User: ann"},
	"cookie":        {"Cookie: session=ann", "Cookie: session=bob"},
	"someone first": {"Authorization: Bearer ann", "Accept: */*"},
	"nobody first":  {"Accept: */*", "Authorization: Bearer ann"},
}

// personalResponses are ways to say, or to leave unsaid, that a response is one
// person's.
var personalResponses = map[string][]string{
	"no-store":         {"Cache-Control: no-store"},
	"private":          {"Cache-Control: private, max-age=60"},
	"Set-Cookie":       {"Cache-Control: public, max-age=60", "Set-Cookie: a=b"},
	"nothing":          {},
	"validator only":   {`Etag: "1"`},
	"old":              {"Last-Modified: Mon, 02 Jan 2006 15:04:05 GMT"},
	"no-cache":         {"Cache-Control: public, no-cache"},
	"max-age=0":        {"Cache-Control: public, max-age=0"},
	"vary *":           {"Cache-Control: public, max-age=60", "Vary: *"},
	"vary on who":      {"Cache-Control: public, max-age=60", "Vary: Authorization, Cookie, X-User, Accept"},
	"targeted private": {"Cache-Control: public, max-age=60", "Fairway-Cache-Control: private"},
}

func TestNever_PersonalResponsesAreShared(t *testing.T) {
	for response, fields := range personalResponses {
		for pair, p := range pairs {
			for _, block := range []string{"", "{\n ttl 1m\n stale_while_revalidate 1m\n stale_if_error 1m\n}"} {
				t.Run(response+"/"+pair, func(t *testing.T) {
					t.Parallel()
					s := newSite(t, block, personal(20*time.Millisecond, fields...))
					s.outer = user
					want := func(i int) string {
						r, _ := http.NewRequest("GET", "/", nil)
						name, value, _ := strings.Cut(p[i], ": ")
						r.Header.Set(name, value)
						return who(r)
					}
					for range 2 {
						for _, i := range []int{0, 1} {
							wantText(t, s.get("/", p[i]), want(i))
						}
						// and at the same time, where they could share a fetch
						answers := s.together("/", []string{p[0]}, []string{p[1]}, []string{p[0]}, []string{p[1]})
						for i, a := range answers {
							wantText(t, a, want(i%2))
						}
					}
				})
			}
		}
	}
}

func TestNever_UsersShareWhatIsKeptForThem(t *testing.T) {
	s := newSite(t, "", personal(20*time.Millisecond, "Cache-Control: private", "Fairway-Cache-Control: public, max-age=60"))
	s.outer = user
	for range 2 {
		answers := s.together("/", []string{"X-User: ann"}, []string{"X-User: bob"}, []string{"X-User: ann"})
		for i, name := range []string{"ann", "bob", "ann"} {
			wantText(t, answers[i], "||"+name+"||")
		}
	}
	s.wantAsked(2)
}

func TestNever_TenantsShare(t *testing.T) {
	s := newSite(t, "{\n key {http.request.header.X-Tenant}\n}", personal(20*time.Millisecond, "Cache-Control: max-age=60"))
	for range 2 {
		answers := s.together("/", []string{"X-Tenant: a"}, []string{"X-Tenant: b"})
		wantText(t, answers[0], "|||a|")
		wantText(t, answers[1], "|||b|")
	}
	s.wantAsked(2)
}

func TestNever_UsersShareDuringRevalidation(t *testing.T) {
	// the origin says 304 to ann only; each request must be judged by itself
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		time.Sleep(20 * time.Millisecond)
		w.Header().Set("Cache-Control", "public, no-cache")
		w.Header().Set("Etag", `"1"`)
		if r.Header.Get("Authorization") == "ann" && r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		if r.Header.Get("Authorization") == "bob" {
			return caddyhttp.Error(http.StatusForbidden, fmt.Errorf("bob may not"))
		}
		_, err := io.WriteString(w, "for ann")
		return err
	})
	s.get("/", "Authorization: ann")
	for range 3 {
		answers := s.together("/", []string{"Authorization: ann"}, []string{"Authorization: bob"})
		wantText(t, answers[0], "for ann")
		if answers[1].StatusCode != http.StatusForbidden || answers[1].text != "" {
			t.Errorf("bob got %d %q", answers[1].StatusCode, answers[1].text)
		}
	}
}

func TestNever_APurgeIsUndoneByAFill(t *testing.T) {
	for _, args := range []string{`{"url":"%s/x"}`, `{"prefix":"%s/"}`, `{"tag":"t"}`, `{"all":true}`} {
		inside, release := make(chan struct{}), make(chan struct{})
		var s *site
		s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
			n := s.asked.Load()
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Cache-Tag", "t")
			if n == 1 {
				close(inside)
				<-release
			}
			_, err := fmt.Fprintf(w, "version %d", n)
			return err
		})
		done := make(chan answer)
		go func() { done <- s.get("/x") }()
		<-inside
		if strings.Contains(args, "%s") {
			args = fmt.Sprintf(args, s.URL)
		}
		if _, err := newPart(s.h, s.app).Act(context.Background(), "purge", json.RawMessage(args)); err != nil {
			t.Fatal(err)
		}
		close(release)
		wantText(t, <-done, "version 1")
		wantText(t, s.get("/x"), "version 2")
		wantText(t, s.get("/x"), "version 2")
	}
}

// halted is a site whose first answer, to a request for /x under way, has come as
// far as begin and waits for release; done gets it then. Later answers say which
// they are.
func halted(t *testing.T, block, begin string) (s *site, release chan struct{}, done chan answer) {
	head, release := make(chan struct{}), make(chan struct{})
	s = newSite(t, block, func(w http.ResponseWriter, r *http.Request) error {
		n := s.asked.Load()
		w.Header().Set("Cache-Control", "max-age=60")
		if n == 1 {
			if begin != "" {
				_, _ = io.WriteString(w, begin)
			}
			_ = http.NewResponseController(w).Flush()
			close(head)
			<-release
		}
		_, err := fmt.Fprintf(w, "version %d", n)
		return err
	})
	done = make(chan answer)
	go func() { done <- s.get("/x") }()
	<-head
	return s, release, done
}

func TestNever_AFollowerGetsWhatWasPurged(t *testing.T) {
	s, release, done := halted(t, "", "")
	s.do("POST", "/x")
	wantText(t, s.get("/x"), "version 3") // would hang if it waited for the first
	close(release)
	<-done
	wantText(t, s.get("/x"), "version 3")
}

func TestNever_ConfigsShareWhatTheyKeepApart(t *testing.T) {
	a := newSite(t, "one", personal(0, "Cache-Control: max-age=60"))
	b := newSite(t, "two", personal(0, "Cache-Control: max-age=60"))
	a.get("/", "Host: same", "Accept: a")
	b.get("/", "Host: same")
	a.wantAsked(1)
	b.wantAsked(1)
}

func TestNever_AStalledOriginBlocksOthers(t *testing.T) {
	stall := make(chan struct{})
	var s *site
	s = newSite(t, "{\n collapse_wait 50ms\n}", func(w http.ResponseWriter, r *http.Request) error {
		if s.asked.Load() == 1 {
			<-stall
		}
		w.Header().Set("Cache-Control", "max-age=60")
		return s.counted(w)
	})
	defer close(stall)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		r, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/", nil)
		_, _ = http.DefaultClient.Do(r)
	}()
	eventually(t, "the first request is at the origin", func() bool { return s.asked.Load() == 1 })
	start := time.Now()
	if a := s.get("/"); a.StatusCode != 200 {
		t.Errorf("status %d", a.StatusCode)
	}
	if d := time.Since(start); d > 20*time.Second { // the stall has no end
		t.Errorf("waited %s behind a stalled origin", d)
	}
}

func TestNever_ADyingLeaderPoisonsOthers(t *testing.T) {
	for name, die := range map[string]func(w http.ResponseWriter) error{
		"before the head": func(http.ResponseWriter) error { return caddyhttp.Error(502, io.ErrUnexpectedEOF) },
		"by panic":        func(http.ResponseWriter) error { panic(http.ErrAbortHandler) },
		"in the body": func(w http.ResponseWriter) error {
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
			panic(http.ErrAbortHandler)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s *site
			s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
				if s.asked.Load() == 1 {
					time.Sleep(50 * time.Millisecond)
					return die(w)
				}
				w.Header().Set("Cache-Control", "max-age=60")
				_, err := io.WriteString(w, "whole")
				return err
			})
			none := []string{}
			for _, a := range s.together("/", none, none, none, none, none, none) {
				broken := strings.HasSuffix(a.text, ">") || a.StatusCode == 502
				if a.text != "whole" && !broken {
					t.Errorf("got %d %q", a.StatusCode, a.text)
				}
			}
			wantText(t, s.get("/"), "whole")
		})
	}
}

func TestNever_KeysAreConfused(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := fmt.Fprintf(w, "%s %s %q", r.Host, r.RequestURI, r.Header["X-Forwarded-Host"])
		return err
	})
	for _, request := range []struct {
		path   string
		fields []string
	}{
		{"/a", nil},
		{"/a/", nil},
		{"/A", nil},
		{"/%61", nil},
		{"/a%2fb", nil},
		{"/a/b", nil},
		{"/a%2Fb", nil},
		{"/a?", nil},
		{"/a?x", nil},
		{"/a%3Fx", nil},
		{"/a?x=", nil},
		{"/a?x=1&y=2", nil},
		{"/a?y=2&x=1", nil},
		{"/a?x=1%26y=2", nil},
		{"/a;x", nil},
		{"//a", nil},
		{"/a%0Ai3:iss", nil},
		{"/a%00", nil},
		{"/a/x.css", nil},
		{"/a;x.css", nil},
		{"/a%2fx.css", nil},
		{"/a%3bx.css", nil},
		{"/a.css", nil},
		{"/./a", nil},
		{"/b/../a", nil},
		{"/b/%2e%2e/a", nil},
		{"/a", []string{"Host: other.example"}},
		{"/a", []string{"Host: other.example."}},
		{"/a", []string{"Host: other.example:80"}},
		{"/a", []string{"X-Forwarded-Host: evil.example"}},
		{"/a", []string{"X-Forwarded-Host: evil", "X-Forwarded-Host: .example"}},
		{"/example", []string{"Host: other"}},
		{"/", []string{"Host: other.example"}},
	} {
		a := s.get(request.path, request.fields...)
		if strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("%s %q was answered with %s", request.path, request.fields, a.text)
		}
	}
	for _, field := range []string{"X-Original-Url: /admin", "X-Rewrite-Url: /admin", "X-Http-Method-Override: DELETE", "X-Forwarded-Scheme: nothttps", "X-Forwarded-Uri: /admin", "X-Http-Host-Override: evil", "Forwarded: host=evil"} {
		if a := s.get("/a", field); strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("a request with %q got the response of one without", field)
		}
		if a := s.get("/a"); !strings.Contains(a.Header.Get("Cache-Status"), "hit") {
			t.Errorf("a request with %q replaced the response for all", field)
		}
	}
	upper := s.get("/a", "Host: OTHER.example")
	if !strings.Contains(upper.Header.Get("Cache-Status"), "hit") {
		t.Errorf("the case of the host matters")
	}
}

func TestNever_ServersShare(t *testing.T) {
	h, _, err := provision(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	key := func(server *caddyhttp.Server) string {
		r, _ := http.NewRequest("GET", "http://same.example/x", nil)
		r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, server)
		return string(h.newExchange(nil, r, nil).p.key)
	}
	one, two := key(namedServer(t, "one")), key(namedServer(t, "two"))
	if one == two {
		t.Errorf("two servers have the same key for one host: %q", one)
	}
}

// namedServer returns a server as a config with that name for it makes it.
func namedServer(t *testing.T, name string) *caddyhttp.Server {
	t.Helper()
	raw := fmt.Sprintf(`{"servers":{%q:{"listen":["127.0.0.1:0"],"automatic_https":{"disable":true}}}}`, name)
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:   &caddy.AdminConfig{Disabled: true},
		AppsRaw: caddy.ModuleMap{"http": json.RawMessage(raw)},
	})
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	return app.(*caddyhttp.App).Servers[name]
}

func TestCollapse_OneRequestForAll(t *testing.T) {
	body := strings.Repeat("0123456789", 2000)
	for _, announced := range []bool{true, false} {
		s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
			time.Sleep(300 * time.Millisecond)
			w.Header().Set("Cache-Control", "max-age=60")
			if announced {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			for part := body; part != ""; part = part[1000:] {
				if _, err := io.WriteString(w, part[:1000]); err != nil {
					return err
				}
			}
			return nil
		})
		var bad atomic.Int64
		requests := make([][]string, 1000)
		for _, a := range s.together("/", requests...) {
			if a.text != body {
				bad.Add(1)
			}
		}
		if bad.Load() > 0 {
			t.Errorf("%d of 1000 bodies are wrong", bad.Load())
		}
		s.wantAsked(1)
	}
}

func TestCollapse_VariantsAreKeptApart(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		time.Sleep(50 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept-Language")
		_, err := io.WriteString(w, r.Header.Get("Accept-Language"))
		return err
	})
	var requests [][]string
	for i := range 60 {
		requests = append(requests, []string{fmt.Sprintf("Accept-Language: %c", 'a'+i%3)})
	}
	for i, a := range s.together("/", requests...) {
		wantText(t, a, string(rune('a'+i%3)))
	}
	s.wantAsked(3)
}

func TestCollapse_UncacheableResponsesDoNotQueue(t *testing.T) {
	const n = 20
	var inside, most, want atomic.Int64
	want.Store(n - 1) // the first goes alone, as nobody knows yet
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		most.Store(max(most.Load(), inside.Add(1)))
		for end := time.Now().Add(time.Second); most.Load() < want.Load() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		inside.Add(-1)
		w.Header().Set("Cache-Control", "no-store")
		_, err := io.WriteString(w, "mine")
		return err
	})
	s.together("/", make([][]string, n)...)
	s.wantAsked(n)
	if most.Load() < n-1 {
		t.Errorf("after the first response %d went to the origin together, want %d", most.Load(), n-1)
	}
	// what follows knows already, and does not wait even for the first
	most.Store(-1)
	want.Store(n)
	s.together("/", make([][]string, n)...)
	if most.Load() < n {
		t.Errorf("%d went to the origin together, want %d", most.Load(), n)
	}
}

func TestCollapse_ASlowClientHoldsUpNobody(t *testing.T) {
	const size = 8 << 20
	started := make(chan struct{})
	var once sync.Once
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Length", fmt.Sprint(size))
		chunk := make([]byte, 64<<10)
		for sent := 0; sent < size; sent += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return err
			}
			once.Do(func() { close(started); time.Sleep(50 * time.Millisecond) })
		}
		return nil
	})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", s.Listener.Addr())
	<-started // the leader's client never reads
	// would never end if it waited for that client
	if a := s.get("/"); len(a.text) != size {
		t.Errorf("got %d bytes, want %d", len(a.text), size)
	}
	s.wantAsked(1)
}

func TestCollapse_AFollowerTakesOverNothingFromALeaderThatLeaves(t *testing.T) {
	inside := make(chan struct{})
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		close(inside)
		select {
		case <-time.After(200 * time.Millisecond):
		case <-r.Context().Done():
			return r.Context().Err()
		}
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.WriteString(w, "whole")
		return err
	})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		r, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/", nil)
		_, _ = http.DefaultClient.Do(r)
	}()
	<-inside
	done := make(chan answer)
	go func() { done <- s.get("/") }()
	time.Sleep(50 * time.Millisecond) // the follower waits now
	cancel()
	wantText(t, <-done, "whole")
	s.wantAsked(1)
}

// A body of a GET is not part of the key, so it must not decide what others get.
func TestNever_ABodyOfAGetPoisons(t *testing.T) {
	var s *site
	s = newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.Copy(w, r.Body)
		return err
	})
	send := func(body io.Reader) string {
		r, _ := http.NewRequest(http.MethodGet, s.URL+"/", body)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		return string(text)
	}
	unsized := func(text string) io.Reader { return io.MultiReader(strings.NewReader(text)) }
	for _, body := range []io.Reader{strings.NewReader("evil"), unsized("evil")} {
		if got := send(body); got != "evil" {
			t.Errorf("the origin got %q", got)
		}
	}
	wantText(t, s.get("/"), "")
	s.wantAsked(3)
	if got := send(unsized("mine")); got != "mine" {
		t.Errorf("a request with a body was answered from the cache: %q", got)
	}
}

// RFC 9111, 3.5: what is cacheable, but does not say that it is for all, is for
// nobody but the one with the credentials who asked.
func TestNever_AnAnswerToCredentialsIsForOthers(t *testing.T) {
	for _, control := range []string{"max-age=60", "max-age=60, stale-while-revalidate=60", "no-cache"} {
		for _, mark := range []string{"Authorization: Bearer ", "X-User: "} {
			s := newSite(t, "", personal(20*time.Millisecond, "Cache-Control: "+control, `Etag: "1"`))
			s.outer = user
			for range 2 {
				answers := s.together("/", []string{mark + "ann"}, []string{mark + "bob"}, []string{}, []string{mark + "root"})
				for i, name := range []string{"ann", "bob", "", "root"} {
					if got := answers[i].text; strings.Trim(strings.ReplaceAll(got, "Bearer ", ""), "|") != name {
						t.Errorf("%s, %s: %q got %q", control, mark, name, got)
					}
				}
				for _, name := range []string{"root", "ann"} {
					s.get("/", mark+name)
					if got := s.get("/").text; strings.Contains(got, name) {
						t.Errorf("%s, %s: nobody got %q", control, mark, got)
					}
				}
			}
		}
	}
}

// A token in the query or in a cookie identifies its user as one in a header
// does: responses are apart by user, and the token is in no key.
func TestNever_TokensInCookieOrQueryShare(t *testing.T) {
	s := newSite(t, "", func(w http.ResponseWriter, r *http.Request) error {
		time.Sleep(20 * time.Millisecond)
		w.Header().Set("Cache-Control", "public, max-age=60")
		_, err := io.WriteString(w, "for "+r.Header.Get("X-User"))
		return err
	})
	s.outer = func(w http.ResponseWriter, r *http.Request) {
		token := r.URL.Query().Get("token")
		if c, err := r.Cookie("token"); err == nil {
			token = c.Value
		}
		r.Header.Set("X-User", strings.TrimPrefix(token, "secret-of-"))
		user(w, r)
	}
	for range 2 {
		var wg sync.WaitGroup
		for _, name := range []string{"root", "ann", "bob"} {
			wg.Go(func() { wantText(t, s.get("/?token=secret-of-"+name), "for "+name) })
			wg.Go(func() { wantText(t, s.get("/", "Cookie: token=secret-of-"+name), "for "+name) })
		}
		wg.Go(func() { wantText(t, s.get("/"), "for ") })
		wg.Wait()
	}
	for e := range s.h.store.memory.otter.Values() {
		if strings.Contains(e.key, "secret") {
			t.Errorf("a token is part of the key %q", e.key)
		}
	}
}
