package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func context(t testing.TB) caddy.Context {
	t.Helper()
	ctx, err := caddy.ProvisionContext(&caddy.Config{Admin: &caddy.AdminConfig{Disabled: true}})
	if err != nil {
		t.Fatal(err)
	}
	return ctx
}

var uuid7 = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// pass sends a request through the handler and returns the id that the next
// handler saw and the one the client got.
func pass(t *testing.T, h *RequestID, peer string, trusted bool, sent ...string) (upstream, client string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = peer
	r.Header["X-Request-Id"] = sent
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	caddyhttp.SetVar(r.Context(), caddyhttp.TrustedProxyVarKey, trusted)
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		upstream = strings.Join(r.Header["X-Request-Id"], "|")
		if v := caddyhttp.GetVar(r.Context(), "request_id"); v != upstream {
			t.Errorf("the variable holds %v, the header %q", v, upstream)
		}
		// What an upstream, or a stored response, says about it.
		w.Header()["X-Request-Id"] = []string{"another", "and-another"}
		_, err := io.Copy(w, strings.NewReader("body"))
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return upstream, strings.Join(w.Result().Header["X-Request-Id"], "|")
}

func TestRequestID_TakenIfTrustedMadeIfNot(t *testing.T) {
	own := &RequestID{Trust: []string{"192.0.2.0/24"}}
	byServer := new(RequestID)
	for _, h := range []*RequestID{own, byServer} {
		if err := h.Provision(context(t)); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		h       *RequestID
		peer    string
		trusted bool
		sent    []string
		taken   bool
	}{
		"from anybody":                 {byServer, "198.51.100.1:1", false, []string{"abc"}, false},
		"from the server's proxies":    {byServer, "198.51.100.1:1", true, []string{"abc"}, true},
		"from the own list":            {own, "192.0.2.9:1", false, []string{"abc-1_2.3:4+5/6=7~8"}, true},
		"the own list is the only one": {own, "198.51.100.1:1", true, []string{"abc"}, false},
		"none sent":                    {own, "192.0.2.9:1", false, nil, false},
		"two sent":                     {own, "192.0.2.9:1", false, []string{"a", "b"}, false},
		"empty":                        {own, "192.0.2.9:1", false, []string{""}, false},
		"too long":                     {own, "192.0.2.9:1", false, []string{strings.Repeat("a", 129)}, false},
		"a header injection":           {own, "192.0.2.9:1", false, []string{"a\r\nX: y"}, false},
		"markup":                       {own, "192.0.2.9:1", false, []string{"<script>"}, false},
		"a log forgery":                {own, "192.0.2.9:1", false, []string{`a","status":"200`}, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			upstream, client := pass(t, c.h, c.peer, c.trusted, c.sent...)
			if upstream != client {
				t.Errorf("upstream got %q, the client %q", upstream, client)
			}
			if c.taken && client != c.sent[0] {
				t.Errorf("id %q, want the one sent, %q", client, c.sent[0])
			}
			if !c.taken && !uuid7.MatchString(client) {
				t.Errorf("id %q, want a new UUIDv7", client)
			}
		})
	}
}

// statuses records which id each header went out with.
type statuses struct {
	http.ResponseWriter
	sent []string
}

func (s *statuses) WriteHeader(status int) {
	s.sent = append(s.sent, fmt.Sprint(status, " ", s.Header()["X-Request-Id"]))
}

func TestRequestID_OverrulesEveryHeader(t *testing.T) {
	rec := &statuses{ResponseWriter: httptest.NewRecorder()}
	w := newHeadWriter(rec, func(h http.Header) { h["X-Request-Id"] = []string{"mine"} })
	for _, status := range []int{103, 200} {
		w.Header()["X-Request-Id"] = []string{"another"}
		w.WriteHeader(status)
	}
	if got := strings.Join(rec.sent, ", "); got != "103 [mine], 200 [mine]" {
		t.Errorf("sent %s", got)
	}
}

// A client may not have the id removed on its way (RFC 9110, 7.6.1).
func TestRequestID_CannotBeNominatedAway(t *testing.T) {
	for sent, want := range map[string]string{
		"x-request-id":                        "[]",
		"close, X-Request-ID":                 "[close]",
		"keep-alive,X-REQUEST-ID ,\tx-other,": "[keep-alive, x-other]",
		"X-Request-IDs":                       "[X-Request-IDs]",
	} {
		h := http.Header{"Connection": {sent}}
		denominate(h, "X-Request-Id")
		if got := fmt.Sprint(h["Connection"]); got != want {
			t.Errorf("Connection %q became %s, want %s", sent, got, want)
		}
	}
}

func TestNewID_SortsByTimeAndNeverRepeats(t *testing.T) {
	at, last, seen := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), "", map[string]bool{}
	if id := newID(at); !strings.HasPrefix(id, "019ca945-0a00-7000-") {
		t.Errorf("the id of %s is %s", at, id)
	}
	for range 10_000 {
		id := newID(at)
		if !uuid7.MatchString(id) || seen[id] || id <= last {
			t.Fatalf("id %q after %q", id, last)
		}
		seen[id], last = true, id
		at = at.Add(time.Microsecond)
	}
	for range 10_000 {
		if id := newID(at); seen[id] {
			t.Fatalf("id %q twice at one time", id)
		} else {
			seen[id] = true
		}
	}
}

func TestRequestID_IsThereWhenTheNextHandlerFails(t *testing.T) {
	h := new(RequestID)
	if err := h.Provision(context(t)); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(httptest.NewRequest("GET", "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error {
		return caddyhttp.Error(401, nil)
	}))
	if err == nil || !uuid7.MatchString(w.Header().Get("X-Request-ID")) {
		t.Errorf("error %v, id %q", err, w.Header().Get("X-Request-ID"))
	}
}

func TestRequestID_NamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		h    RequestID
		want string
	}{
		{RequestID{Header: "X Request"}, `request_id: header "X Request"`},
		{RequestID{Trust: []string{"10.0.0.0/99"}}, "10.0.0.0/99"},
	} {
		if err := c.h.Provision(context(t)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want …%s…", err, c.want)
		}
	}
	for text, want := range map[string]string{
		"request_id x":                              "wrong argument count",
		"request_id {\n heder a\n}":                 `request_id: unknown option "heder"`,
		"request_id {\n header a\n header b\n}":     "request_id: header is given twice",
		"request_id {\n trust\n}":                   "wrong argument count",
		"request_id {\n trust ::1\n trust 1.1.1.1}": "",
	} {
		if err := new(RequestID).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
}

func TestRequestID_Caddyfile(t *testing.T) {
	var h RequestID
	if err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser("request_id {\n header X-Trace\n trust private_ranges 192.0.2.1\n}")); err != nil {
		t.Fatal(err)
	}
	if h.Header != "X-Trace" || len(h.Trust) != len(caddyhttp.PrivateRangesCIDR())+1 {
		t.Errorf("%+v", h)
	}
}

func BenchmarkRequestID(b *testing.B) {
	h := new(RequestID)
	if err := h.Provision(context(b)); err != nil {
		b.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := caddyhttp.PrepareRequest(httptest.NewRequest("GET", "/", nil), caddy.NewReplacer(), w, &caddyhttp.Server{})
	next := caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })
	b.ReportAllocs()
	for b.Loop() {
		if err := h.ServeHTTP(w, r, next); err != nil {
			b.Fatal(err)
		}
	}
}
