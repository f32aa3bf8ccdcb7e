package health

import (
	"errors"
	"strings"
	"testing"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func TestDisk_WantsRoom(t *testing.T) {
	for name, c := range map[string]struct {
		minFree string
		free    uint64
		err     error
		want    string // "" for healthy
	}{
		"enough of the whole":   {"5%", 51, nil, ""},
		"too little of it":      {"5%", 49, nil, "full"},
		"5% without a word":     {"", 49, nil, "full"},
		"enough bytes":          {"20B", 20, nil, ""},
		"too few bytes":         {"20B", 19, nil, "full"},
		"the path is not there": {"1%", 0, errors.New("no such file"), "unreadable"},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := newDiskCheck("/data", c.minFree)
			if err != nil {
				t.Fatal(err)
			}
			d.space = func(string) (uint64, uint64, error) { return c.free, 1000, c.err }
			switch err := d.ask(t.Context()); {
			case err == nil && c.want != "", err != nil && reason(err) != c.want:
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	for _, bad := range []string{"0%", "100%", "-1%", "NaN%", "some", "0"} {
		if _, err := newDiskCheck("/", bad); err == nil {
			t.Errorf("min_free %q is taken", bad)
		}
	}
}

func TestHandler_Disk(t *testing.T) {
	dir := t.TempDir()
	h, err := provision(t, &Handler{Checks: []Check{
		{Kind: "disk", Name: "data", Path: dir, MinFree: "1B"},
		{Kind: "disk", Name: "gone", Path: dir + "/no-such-folder"},
	}}, "")
	if err != nil {
		t.Fatal(err)
	}
	status, body := probe(h, from("127.0.0.1:1"))
	gone, _ := body["checks"].(map[string]any)["gone"].(map[string]any)
	if status != 503 || body["data"] != true || body["gone"] != false || gone["error"] != "unreadable" {
		t.Errorf("%d %v", status, body)
	}
}

// fakePart is what a breaker or a key set is to health.
type fakePart struct {
	kind, name string
	err        error
}

func (p *fakePart) Kind() string  { return p.kind }
func (p *fakePart) Name() string  { return p.name }
func (p *fakePart) Snapshot() any { return nil }
func (p *fakePart) Check() error  { return p.err }

func TestHandler_AsksPartsOfTheRunningConfig(t *testing.T) {
	app := emptyApp(t)
	breaker := &fakePart{kind: "breaker", name: "users"}
	keys := &fakePart{kind: "jwt_auth", name: "https://issuer.example"}
	for _, p := range []gateway.Part{breaker, keys} {
		if err := app.Register(p); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(kind string) string {
		err := askParts(app, kind)(t.Context())
		if err == nil {
			return ""
		}
		return reason(err) + ": " + err.Error()
	}
	if got := ask("breakers") + ask("keys"); got != "" {
		t.Errorf("all is well, got %s", got)
	}
	breaker.err = errors.New("all breakers are open (2)")
	keys.err = errors.New("there is no key set yet")
	if got := ask("breakers"); !strings.HasPrefix(got, "open: ") || !strings.Contains(got, `"users"`) {
		t.Errorf("breakers: %s", got)
	}
	if got := ask("keys"); !strings.HasPrefix(got, "no keys: ") || !strings.Contains(got, "issuer.example") {
		t.Errorf("keys: %s", got)
	}
}
