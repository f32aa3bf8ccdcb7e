package cache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func init() {
	httpcaddyfile.RegisterDirectiveOrder("cache", httpcaddyfile.Before, "encode")
}

// Every Caddyfile that the page shows lies in testdata, all of those are on the
// page, and a gateway would start with each.
func TestDocs_CaddyfilesAreValid(t *testing.T) {
	page, err := os.ReadFile("../../docs/cache.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/docs/*.caddyfile")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/docs: %d files, %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(page), "```caddyfile\n"+string(text)+"```\n") {
			t.Errorf("%s is not shown in docs/cache.md", name)
		}
		if err := validate(string(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := strings.Count(string(page), "```caddyfile\n"); n != len(files) {
		t.Errorf("docs/cache.md shows %d Caddyfiles, testdata has %d", n, len(files))
	}
}

func validate(text string) error {
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	raw, _, err := adapter.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(raw, &cfg); err != nil {
		return err
	}
	cfg.Admin = &caddy.AdminConfig{Disabled: true}
	return caddy.Validate(&cfg)
}

func TestCaddyfile_MistakesAreNamed(t *testing.T) {
	for block, want := range map[string]string{
		"a b":                                      "wrong argument count",
		"{\n tll 1m\n}":                            `unknown option "tll"`,
		"{\n ttl 1m\n ttl 1m\n}":                   "ttl is given twice",
		"{\n ttl soon\n}":                          `ttl "soon"`,
		"{\n ttl -1m\n}":                           `ttl "-1m": must be positive`,
		"{\n ttl\n}":                               "wrong argument count",
		"{\n max_size lots\n}":                     `max_size "lots"`,
		"{\n max_size 1KiB\n}":                     "max_size must be at least 1MiB, got 1024",
		"{\n max_body 1GiB\n}":                     "max_body must be between 1 byte and max_size",
		"{\n vary_limit 0\n}":                      `vary_limit "0"`,
		"{\n vary_limit 5000\n}":                   "vary_limit must be between 1 and 4096, got 5000",
		"{\n shared yes\n}":                        "wrong argument count",
		"{\n key\n}":                               "want values or a block",
		"{\n key {\n colour x\n }\n}":              `unknown option "colour"`,
		"{\n key {\n query maybe x\n }\n}":         "want only or without with names",
		"{\n key {\n query off\n query sort\n}\n}": "exclude each other",
		"{\n key {\n header \"a b\"\n }\n}":        `"a b" is no name of a header`,
		"{\n bypass {\n }\n}":                      "want a block of matchers",
		"{\n bypass {\n pth /x\n }\n}":             "pth",
		"{\n methods PUT\n}":                       `got "PUT"`,
		"{\n statuses 99\n}":                       "99 is no final status code",
		"{\n statuses ok\n}":                       `statuses "ok"`,
		"{\n tags_header \"a b\"\n}":               "tags_header is no field name",
		"{\n l2 on\n}":                             `l2 "on": want off or a block`,
		"{\n l2 {\n ttl 1h\n ttl 2h\n }\n}":        "l2: ttl is given twice",
		"{\n l2 {\n size 1\n }\n}":                 `l2: unknown option "size"`,
		"{\n l2 {\n lock off\n }\n}":               `l2: lock "off"`,
		"{\n collapse_wait never\n}":               `collapse_wait "never"`,
		"{\n ttl 1m\n force_ttl 1m\n}":             "exclude each other",
		"\"a b\"":                                  `name must have no spaces or braces, got "a b"`,
	} {
		_, _, err := provision(t, block, "")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("cache %s: error %v, want one with %q", block, err, want)
		}
	}
}

func TestCaddyfile_MaxBodyFollowsMaxSize(t *testing.T) {
	h, _, err := provision(t, "{\n max_size 8MiB\n}", "")
	if err != nil {
		t.Fatal(err)
	}
	if h.MaxBody != 8<<20 {
		t.Errorf("max_body = %d, want that of max_size", h.MaxBody)
	}
}

func TestKey_Options(t *testing.T) {
	for _, tc := range []struct {
		block, first, second string
		fields               []string
		same                 bool
	}{
		{"query without utm gclid", "/?a=1&utm=2", "/?a=1&gclid=3", nil, true},
		{"query without utm", "/?a=1", "/?a=2", nil, false},
		{"query without utm", "/?a=1&u%74m=2", "/?a=1", nil, true},
		{"query only a", "/?a=1&b=2", "/?b=3&a=1", nil, true},
		{"query only a", "/?a=1", "/?a=2", nil, false},
		{"query sort", "/?a=1&b=2", "/?b=2&a=1", nil, true},
		{"query sort", "/?a=1&a=2", "/?a=2&a=1", nil, false},
		{"query off", "/?a=1", "/", nil, true},
		{"host off", "/", "/", []string{"Host: other.example"}, true},
		{"header X-Market", "/", "/", []string{"X-Market: de"}, false},
		{"header X-Market", "/", "/", []string{"X-Other: de"}, true},
		{"cookie currency", "/", "/", []string{"Cookie: currency=eur"}, false},
		{"cookie currency", "/", "/", []string{"Cookie: session=1"}, true},
		{"value {http.request.header.X-Tenant}", "/", "/", []string{"X-Tenant: a"}, false},
	} {
		s := cacheable(t, "{\n key {\n "+tc.block+"\n }\n}", "Cache-Control: max-age=60")
		s.get(tc.first)
		a := s.get(tc.second, tc.fields...)
		if got := a.text == "response 1"; got != tc.same {
			t.Errorf("key { %s }: %s and %s %q share = %v, want %v", tc.block, tc.first, tc.second, tc.fields, got, tc.same)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, tc := range []struct {
		block   string
		fields  []string // of the response
		request []string
		want    int64 // requests that reach the origin, of two
	}{
		{"bypass {\n header X-Fresh *\n }", []string{"Cache-Control: max-age=60"}, []string{"X-Fresh: 1"}, 2},
		{"bypass {\n header X-Fresh *\n }", []string{"Cache-Control: max-age=60"}, nil, 1},
		{"methods POST", []string{"Cache-Control: max-age=60"}, nil, 2},
		{"statuses 404", []string{"Cache-Control: max-age=60"}, nil, 2},
		{"statuses 200", []string{"Cache-Control: max-age=60"}, nil, 1},
		{"ignore_request_control", []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: no-cache"}, 1},
		{"ttl 1m", []string{"Cache-Control: max-age=60"}, []string{"Cache-Control: no-cache"}, 2},
		{"force_ttl 1m", []string{"Cache-Control: max-age=0"}, nil, 1},
		{"force_ttl 1m", []string{"Cache-Control: no-store"}, nil, 2},
		{"force_ttl 1m", []string{"Cache-Control: private"}, nil, 2},
		{"store_set_cookie", []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, nil, 1},
		{"collapse_wait off", []string{"Cache-Control: max-age=60"}, nil, 1},
	} {
		s := cacheable(t, "{\n "+tc.block+"\n}", tc.fields...)
		s.get("/", tc.request...)
		s.get("/", tc.request...)
		if got := s.asked.Load(); got != tc.want {
			t.Errorf("cache { %s } with %q, request %q: the origin was asked %d times, want %d", tc.block, tc.fields, tc.request, got, tc.want)
		}
	}
}
