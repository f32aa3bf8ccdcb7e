package ratelimit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/filestorage"

	"github.com/fairway-gateway/fairway/modules/gateway/docstest"
)

func init() {
	// The order that package modules gives it.
	httpcaddyfile.RegisterDirectiveOrder("rate_limit", httpcaddyfile.Before, "encode")
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// adapt turns a config file into Caddy's JSON; warnings are errors.
func adapt(t *testing.T, file string) []byte {
	t.Helper()
	text := read(t, file)
	if strings.HasSuffix(file, ".json") {
		return []byte(text)
	}
	adapter := caddyfile.Adapter{ServerType: httpcaddyfile.ServerType{}}
	out, warnings, err := adapter.Adapt([]byte(text), map[string]any{"filename": file})
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			t.Errorf("%s: %v", file, w)
		}
	}
	return out
}

// handlerIn finds the JSON of the first rate_limit handler in a config.
func handlerIn(v any) json.RawMessage {
	switch v := v.(type) {
	case map[string]any:
		if v["handler"] == "rate_limit" {
			delete(v, "handler")
			raw, _ := json.Marshal(v)
			return raw
		}
		for _, member := range v {
			if raw := handlerIn(member); raw != nil {
				return raw
			}
		}
	case []any:
		for _, item := range v {
			if raw := handlerIn(item); raw != nil {
				return raw
			}
		}
	}
	return nil
}

func handlerOf(t *testing.T, file string) (*node, *Handler) {
	t.Helper()
	var config any
	if err := json.Unmarshal(adapt(t, file), &config); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, "")
	h, err := n.loadJSON(string(handlerIn(config)))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return n, h
}

func TestDocs_ShowConfigsThatLoad(t *testing.T) {
	docstest.Check(t, "docs/rate_limit.md", "modules/ratelimit/testdata/docs")
}

func TestCaddyRateLimit_ItsDocumentedConfigsLoad(t *testing.T) {
	for _, file := range append(files(t, "testdata/caddy-ratelimit/*.caddyfile"), files(t, "testdata/caddy-ratelimit/*.json")...) {
		docstest.Validate(t, file, adapt(t, file))
	}
}

func TestCaddyRateLimit_ItsExampleBehaves(t *testing.T) {
	for _, file := range []string{"testdata/caddy-ratelimit/two-zones.caddyfile", "testdata/caddy-ratelimit/two-zones.json"} {
		n, h := handlerOf(t, file)
		if got := statuses(3, h, "/"); got != "200 200 429" {
			t.Errorf("%s: %s, want 2 per client", file, got)
		}
		if a := get(h, "/"); a.vars["fairway.rate_limit_zone"] != "dynamic_example" {
			t.Errorf("%s: the zone that refused is %v", file, a.vars["fairway.rate_limit_zone"])
		}
		static := h.zones[0]
		if static.name != "static_example" {
			static = h.zones[1]
		}
		admitted := 0
		for range 200 {
			a := &ask{key: KeyOf("static"), text: "static", set: static.base, cost: 1, bounds: static.bounds}
			if static.limiter.decided(a).ok {
				admitted++
			}
		}
		if admitted != 98 {
			t.Errorf("%s: static_example admitted %d more, want 98", file, admitted)
		}
		if z := h.zones[0]; z.onEmpty != emptyShare {
			t.Error("an empty key is not shared, as caddy-ratelimit does")
		}
		n.close() // the next one has zones of the same names
	}
}
