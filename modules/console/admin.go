// Package console lets an operator look into a running gateway and act on it,
// through Caddy's admin endpoint and the command line:
//
//	GET  /fairway/                    every part, by kind and name
//	GET  /fairway/<kind>              the parts of one kind
//	GET  /fairway/<kind>?name=<name>  one part
//	POST /fairway/<kind>/<action>     tell all parts of a kind, or the one named
//	                                  by ?name=, to do something; the arguments
//	                                  are the JSON body
//
// It knows no module: parts register themselves with the gateway app. It is
// reachable where Caddy's admin endpoint is and nowhere else, and does not
// promise that a snapshot is consistent between parts.
package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

const (
	// prefix is where the admin endpoint serves this package.
	prefix = "/fairway/"

	// maxArguments bounds the body of an action.
	maxArguments = 1 << 20
)

func init() {
	caddy.RegisterModule(Admin{})
}

// Admin serves the parts of the running config below /fairway/ on Caddy's admin
// endpoint. It keeps nothing itself, because it outlives configs.
type Admin struct{}

// CaddyModule returns the Caddy module information.
func (Admin) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.fairway", New: func() caddy.Module { return new(Admin) }}
}

// Routes returns the one route; the rest of the path is parsed here.
func (a Admin) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: prefix, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

func (Admin) serve(w http.ResponseWriter, r *http.Request) error {
	app := gateway.Active()
	if app == nil {
		return apiError(http.StatusNotFound, errors.New("the running config has no fairway module"))
	}
	kind, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, prefix), "/")
	var (
		answer any
		err    error
	)
	switch r.Method {
	case http.MethodGet:
		answer, err = look(app, kind, action, r.URL.Query().Get("name"))
	case http.MethodPost:
		answer, err = act(app, r, kind, action)
	default:
		w.Header().Set("Allow", "GET, POST")
		err = apiError(http.StatusMethodNotAllowed, fmt.Errorf("method %s is not allowed", r.Method))
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(answer)
}

// overview is the answer to GET /fairway/.
type overview struct {
	Node  string                    `json:"node"`
	Parts map[string]map[string]any `json:"parts"`
}

func look(app *gateway.App, kind, rest, name string) (any, error) {
	if rest != "" {
		return nil, apiError(http.StatusNotFound, fmt.Errorf("nothing to read at %q", rest))
	}
	all := overview{Node: app.NodeID(), Parts: map[string]map[string]any{}}
	for _, p := range app.Parts() {
		if kind != "" && p.Kind() != kind || name != "" && p.Name() != name {
			continue
		}
		if all.Parts[p.Kind()] == nil {
			all.Parts[p.Kind()] = map[string]any{}
		}
		all.Parts[p.Kind()][p.Name()] = p.Snapshot()
	}
	if kind == "" {
		return all, nil
	}
	if all.Parts[kind] == nil {
		return nil, noSuchPart(kind, name)
	}
	return all.Parts[kind], nil
}

func act(app *gateway.App, r *http.Request, kind, action string) (any, error) {
	if err := sameOrigin(r); err != nil {
		return nil, err
	}
	args, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxArguments))
	if err != nil {
		return nil, apiError(http.StatusBadRequest, fmt.Errorf("reading the arguments: %w", err))
	}
	if len(args) > 0 && !json.Valid(args) {
		return nil, apiError(http.StatusBadRequest, errors.New("the arguments are not JSON"))
	}
	name := r.URL.Query().Get("name")
	results := map[string]any{}
	for _, p := range app.Parts() {
		actor, ok := p.(gateway.Actor)
		if !ok || p.Kind() != kind || name != "" && p.Name() != name {
			continue
		}
		result, err := actor.Act(r.Context(), action, args)
		if errors.Is(err, gateway.ErrNotMine) {
			continue
		}
		if err != nil {
			return nil, actError(err, kind, action)
		}
		results[p.Name()] = result
	}
	if len(results) == 0 {
		return nil, nobodys(app, kind, name)
	}
	return results, nil
}

// nobodys says why no part did what it was told to.
func nobodys(app *gateway.App, kind, name string) error {
	for _, p := range app.Parts() {
		if p.Kind() != kind || name != "" && p.Name() != name {
			continue
		}
		if _, ok := p.(gateway.Actor); ok {
			return apiError(http.StatusNotFound, fmt.Errorf("no %s of the running config has what the arguments name", kind))
		}
		return apiError(http.StatusNotFound, fmt.Errorf("%s has no actions", kind))
	}
	return noSuchPart(kind, name)
}

// sameOrigin refuses what a web page in the operator's browser could send
// without asking: Caddy checks the Origin only where it enforces one.
func sameOrigin(r *http.Request) error {
	if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return nil
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return apiError(http.StatusForbidden, err)
	}
	return nil
}

func actError(err error, kind, action string) error {
	var mistake *gateway.ArgumentError
	switch {
	case errors.Is(err, gateway.ErrUnknownAction):
		return apiError(http.StatusNotFound, fmt.Errorf("%s has no action %q", kind, action))
	case errors.As(err, &mistake):
		return apiError(http.StatusBadRequest, mistake)
	case errors.Is(err, gateway.ErrRedisDown):
		return apiError(http.StatusServiceUnavailable, err)
	}
	return apiError(http.StatusInternalServerError, err)
}

func noSuchPart(kind, name string) error {
	if name != "" {
		return apiError(http.StatusNotFound, fmt.Errorf("the running config has no %s %q", kind, name))
	}
	return apiError(http.StatusNotFound, fmt.Errorf("the running config has no %s", kind))
}

func apiError(status int, err error) error {
	return caddy.APIError{HTTPStatus: status, Err: err}
}

var _ caddy.AdminRouter = Admin{}
