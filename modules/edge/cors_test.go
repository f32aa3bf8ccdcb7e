package edge

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func TestOrigins_Allow(t *testing.T) {
	o, err := parseOrigins([]string{"https://App.example", "http://localhost:3000", "https://*.shop.example", "null"}, false)
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://app.example": true, "HTTPS://APP.EXAMPLE": true, "http://localhost:3000": true,
		"https://a.shop.example": true, "https://a.b.shop.example": true, "null": true,
		"http://app.example": false, "https://app.example:8443": false, "https://app.example.evil.com": false,
		"https://evil-app.example": false, "http://localhost": false, "https://shop.example": false,
		"https://.shop.example": false, "https://evilshop.example": false, "http://a.shop.example": false,
		"https://evil.com/.shop.example": false, "https://evil.com#.shop.example": false,
		"https://u@evil.com:1.shop.example": false, "https://a.shop.example:1": false, "": false, "*": false,
	} {
		if got := o.allow(origin); got != want {
			t.Errorf("allow(%q) = %v, want %v", origin, got, want)
		}
	}
}

func cors(t *testing.T, text string) *CORS {
	t.Helper()
	c := new(CORS)
	if err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err != nil {
		t.Fatal(err)
	}
	if err := c.Provision(context(t)); err != nil {
		t.Fatal(err)
	}
	return c
}

// exchange sends a request through cors to an upstream that says something
// about CORS itself.
func exchange(c *CORS, method string, header http.Header) (*http.Response, int, error) {
	calls := 0
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "/", nil)
	r.Header = header
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := c.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) error {
		calls++
		w.Header().Add("Access-Control-Allow-Origin", "https://upstream.example")
		w.Header().Add("Access-Control-Allow-Credentials", "true")
		w.Header().Add("Vary", "Accept-Encoding")
		_, err := w.Write([]byte("body"))
		return err
	}))
	return w.Result(), calls, err
}

func TestCORS_ActualRequests(t *testing.T) {
	named := cors(t, "cors {\n origins https://app.example\n credentials\n expose X-Request-ID ETag\n}")
	open := cors(t, "cors {\n origins *\n}")
	cases := map[string]struct {
		c                        *CORS
		origin                   []string
		allow, credentials, vary string
	}{
		"allowed":                {named, []string{"https://app.example"}, "https://app.example", "true", "Origin,Accept-Encoding"},
		"another origin":         {named, []string{"https://evil.example"}, "", "", "Origin,Accept-Encoding"},
		"no origin":              {named, nil, "", "", "Origin,Accept-Encoding"},
		"two origins":            {named, []string{"https://app.example", "https://evil.example"}, "", "", "Origin,Accept-Encoding"},
		"open to all":            {open, []string{"https://evil.example"}, "*", "", "Accept-Encoding"},
		"open to all, no origin": {open, nil, "*", "", "Accept-Encoding"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if tc.origin != nil {
				h["Origin"] = tc.origin
			}
			resp, calls, err := exchange(tc.c, "GET", h)
			if err != nil || calls != 1 {
				t.Fatalf("error %v, %d calls", err, calls)
			}
			for field, want := range map[string]string{
				"Access-Control-Allow-Origin": tc.allow, "Access-Control-Allow-Credentials": tc.credentials, "Vary": tc.vary,
			} {
				if got := strings.Join(resp.Header.Values(field), ","); got != want {
					t.Errorf("%s: %q, want %q", field, got, want)
				}
			}
		})
	}
}

func TestCORS_PreflightIsAnsweredHere(t *testing.T) {
	c := cors(t, "cors {\n origins https://app.example\n methods GET PUT\n headers X-A\n credentials\n max_age 1h\n expose ETag\n}")
	h := http.Header{"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"PUT"}}
	resp, calls, err := exchange(c, "OPTIONS", h)
	if err != nil || calls != 0 || resp.StatusCode != 204 {
		t.Fatalf("error %v, %d calls, status %d", err, calls, resp.StatusCode)
	}
	for field, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, PUT", "Access-Control-Allow-Headers": "X-A", "Access-Control-Max-Age": "3600",
		"Access-Control-Expose-Headers": "",
	} {
		if got := resp.Header.Get(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if vary := resp.Header.Get("Vary"); !strings.Contains(vary, "Origin") {
		t.Errorf("Vary %q", vary)
	}

	h.Set("Origin", "https://evil.example")
	resp, calls, err = exchange(c, "OPTIONS", h)
	var he caddyhttp.HandlerError
	if !errors.As(err, &he) || he.StatusCode != 403 || calls != 0 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: error %v, %d calls, %v", err, calls, resp.Header)
	}

	if _, calls, err := exchange(c, "OPTIONS", http.Header{"Origin": {"https://app.example"}}); err != nil || calls != 1 {
		t.Errorf("an OPTIONS that is no preflight: error %v, %d calls, want it to go on", err, calls)
	}
}

func TestCORS_AnyHeaderRepeatsTheNamesAsked(t *testing.T) {
	c := cors(t, "cors {\n origins https://app.example\n headers *\n credentials\n}")
	resp, _, err := exchange(c, "OPTIONS", http.Header{
		"Origin": {"https://app.example"}, "Access-Control-Request-Method": {"GET"},
		"Access-Control-Request-Headers": {"authorization, x-a,bad name,\r\nx: y"},
	})
	if got := resp.Header.Get("Access-Control-Allow-Headers"); err != nil || got != "authorization, x-a" {
		t.Errorf("error %v, headers %q", err, got)
	}
}

func TestCORS_HeadersAreThereWhenTheNextHandlerFails(t *testing.T) {
	c := cors(t, "cors {\n origins https://app.example\n}")
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Origin", "https://app.example")
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), w, &caddyhttp.Server{})
	err := c.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return caddyhttp.Error(401, nil) }))
	if err == nil || w.Header().Get("Access-Control-Allow-Origin") != "https://app.example" {
		t.Errorf("error %v, header %v: the page could not read the 401", err, w.Header())
	}
}

func TestCORS_NamesWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"cors x":                                  "wrong argument count",
		"cors":                                    "cors: origins is missing",
		"cors {\n origins *\n credentials\n}":     `cors: origin "*" with credentials`,
		"cors {\n origins null\n credentials\n}":  `cors: origin "null" with credentials`,
		"cors {\n origins app.example\n}":         `cors: origin "app.example"`,
		"cors {\n origins https://a.example/x\n}": `cors: origin "https://a.example/x"`,
		"cors {\n origins https://u@a.example\n}": `cors: origin "https://u@a.example"`,
		"cors {\n origins https://*.com\n}":       "top-level domain",
		"cors {\n origins https://a*.example\n}":  `cors: origin "https://a*.example"`,
		"cors {\n origins *\n max_age never\n}":   `cors: max_age "never"`,
		"cors {\n origins *\n origins *\n}":       "cors: origins is given twice",
		"cors {\n orgins *\n}":                    `cors: unknown option "orgins"`,
		"cors {\n origins *\n credentials yes\n}": "wrong argument count",
		"cors {\n origins *\n methods\n}":         "wrong argument count",
	} {
		if err := new(CORS).UnmarshalCaddyfile(caddyfile.NewTestDispenser(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want …%s…", text, err, want)
		}
	}
	for _, c := range []struct {
		cors CORS
		want string
	}{
		{CORS{Origins: []string{"*"}, Methods: []string{"GE T"}}, `cors: methods "GE T"`},
		{CORS{Origins: []string{"*"}, Expose: []string{"*"}}, `cors: expose "*"`},
		{CORS{Origins: []string{"*"}, MaxAge: caddy.Duration(-time.Second)}, "cors: max_age must be positive, got -1s"},
	} {
		if err := c.cors.Provision(context(t)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want …%s…", err, c.want)
		}
	}
}
