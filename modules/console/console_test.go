package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// lamp is a part that can be switched.
type lamp struct {
	name string
	on   bool
}

func (l *lamp) Kind() string  { return "lamp" }
func (l *lamp) Name() string  { return l.name }
func (l *lamp) Snapshot() any { return map[string]any{"on": l.on} }

func (l *lamp) Act(_ context.Context, action string, args json.RawMessage) (any, error) {
	if action != "switch" {
		return nil, gateway.ErrUnknownAction
	}
	var a struct {
		On  *bool  `json:"on"`
		For string `json:"for"`
	}
	if err := json.Unmarshal(args, &a); err != nil || a.On == nil {
		return nil, gateway.BadArgument("on: want true or false")
	}
	if a.For != "" && a.For != l.name {
		return nil, gateway.ErrNotMine
	}
	l.on = *a.On
	return l.Snapshot(), nil
}

// wall is a part that can only be looked at.
type wall struct{}

func (wall) Kind() string  { return "wall" }
func (wall) Name() string  { return "north" }
func (wall) Snapshot() any { return struct{}{} }

// load runs a config with the fairway app and the given parts.
func load(t *testing.T, parts ...gateway.Part) {
	t.Helper()
	config := []byte(`{"admin":{"disabled":true},"apps":{"fairway":{}}}`)
	if err := caddy.Load(config, true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range parts {
		if err := gateway.Active().Register(p); err != nil {
			t.Fatal(err)
		}
	}
}

// ask returns the answer's status and body.
func ask(t *testing.T, r *http.Request) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	err := Admin{}.serve(w, r)
	var api caddy.APIError
	if errors.As(err, &api) {
		return api.HTTPStatus, api.Err.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

func TestAdmin(t *testing.T) {
	load(t, &lamp{name: "hall"}, &lamp{name: "porch", on: true}, wall{})
	for _, tc := range []struct {
		name, method, target, body string
		status                     int
		want                       string
	}{
		{"all parts", "GET", "/fairway/", "", 200, `"parts":{"lamp":{"hall":{"on":false},"porch":{"on":true}},"wall":{"north":{}}}`},
		{"one kind", "GET", "/fairway/lamp", "", 200, `{"hall":{"on":false},"porch":{"on":true}}`},
		{"one part", "GET", "/fairway/lamp?name=hall", "", 200, `{"hall":{"on":false}}`},
		{"unknown kind", "GET", "/fairway/fan", "", 404, "no fan"},
		{"unknown part", "GET", "/fairway/lamp?name=attic", "", 404, `no lamp "attic"`},
		{"deeper than anything", "GET", "/fairway/lamp/hall", "", 404, `nothing to read at "hall"`},
		{"an action on one", "POST", "/fairway/lamp/switch?name=hall", `{"on":true}`, 200, `{"hall":{"on":true}}`},
		{"an action on whose it is", "POST", "/fairway/lamp/switch", `{"on":false,"for":"hall"}`, 200, `{"hall":{"on":false}}`},
		{"an action on nobody's", "POST", "/fairway/lamp/switch", `{"on":true,"for":"attic"}`, 404, "no lamp of the running config has what the arguments name"},
		{"an unknown action", "POST", "/fairway/lamp/dim", `{}`, 404, `lamp has no action "dim"`},
		{"an action on a kind that is not there", "POST", "/fairway/fan/switch", `{}`, 404, "the running config has no fan"},
		{"an action on what has none", "POST", "/fairway/wall/switch", `{}`, 404, "wall has no actions"},
		{"a wrong argument", "POST", "/fairway/lamp/switch", `{}`, 400, "on: want true or false"},
		{"no JSON", "POST", "/fairway/lamp/switch", `{`, 400, "not JSON"},
		{"too long", "POST", "/fairway/lamp/switch", strings.Repeat(" ", maxArguments+1), 400, "too large"},
		{"another method", "PUT", "/fairway/lamp", "", 405, "PUT"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, body := ask(t, httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body)))
			if status != tc.status || !strings.Contains(body, tc.want) {
				t.Errorf("%s %s = %d %s, want %d with %s", tc.method, tc.target, status, body, tc.status, tc.want)
			}
		})
	}
}

func TestAdmin_RefusesAnotherSitesPage(t *testing.T) {
	hall := &lamp{name: "hall"}
	load(t, hall)
	r := httptest.NewRequest("POST", "http://localhost:2019/fairway/lamp/switch", strings.NewReader(`{"on":true}`))
	r.Header.Set("Origin", "https://evil.example")
	if status, body := ask(t, r); status != http.StatusForbidden || hall.on {
		t.Errorf("a cross-site action = %d %s (lamp on: %t), want 403", status, body, hall.on)
	}
}

func TestArguments(t *testing.T) {
	got, err := arguments([]string{"tag=user-1", "soft", "url=http://x/?a=b"})
	if want := `{"soft":true,"tag":"user-1","url":"http://x/?a=b"}`; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, words := range [][]string{{"=x"}, {"a=1", "a=2"}} {
		if _, err := arguments(words); err == nil {
			t.Errorf("arguments(%q) is accepted", words)
		}
	}
}

func TestCommand_AMistakeIsOneLine(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /fairway/cache/purge", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"purge: name \"x\""}` + "\n"))
	})
	mux.HandleFunc("GET /fairway/breaker", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not JSON", http.StatusBadGateway)
	})
	admin := httptest.NewServer(mux)
	t.Cleanup(admin.Close)
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"purge", []string{"tag=x"}, "fairway: purge: name \"x\"\n"},
		{"purge", []string{"tag=x", "tag=y"}, "fairway: argument \"tag\" is given twice\n"},
		{"breakers", nil, "fairway: caddy responded with error: HTTP 502: not JSON\n"},
	} {
		at := slices.IndexFunc(views, func(v view) bool { return v.name == tc.name })
		cmd, said := &cobra.Command{Use: tc.name}, new(strings.Builder)
		views[at].cobra(cmd)
		cmd.SetErr(said)
		cmd.SetArgs(append(tc.args, "--address", strings.TrimPrefix(admin.URL, "http://")))
		if err := cmd.Execute(); err == nil || said.String() != tc.want {
			t.Errorf("%s %q = %v, said %q, want an error and %q", tc.name, tc.args, err, said, tc.want)
		}
	}
}

func TestRender(t *testing.T) {
	var b strings.Builder
	err := render(&b, []byte(`{"cache":{"main":{"hits":12,"ratio":0.25,"kinds":["a","b"],"full":false,"none":[]}}}`))
	want := "cache\n  main\n    full   no\n    hits   12\n    kinds  a b\n    none   -\n    ratio  0.25\n"
	if err != nil || b.String() != want {
		t.Errorf("got %q, %v, want %q", b.String(), err, want)
	}
}
