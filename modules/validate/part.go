package validate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// part shows a document at a URL in the admin API, and fetches it anew when
// told to: POST /fairway/openapi/refresh.
type part struct {
	name   string
	remote *remote
}

// registerRemote makes a remote a part. Several handlers may use the same URL;
// the second is called URL#2.
func registerRemote(app *gateway.App, r *remote) error {
	p := &part{name: r.url, remote: r}
	taken := map[string]bool{}
	for _, other := range app.Parts() {
		if other.Kind() == p.Kind() {
			taken[other.Name()] = true
		}
	}
	for n := 2; taken[p.name]; n++ {
		p.name = fmt.Sprintf("%s#%d", r.url, n)
	}
	return app.Register(p)
}

// Kind is "openapi".
func (p *part) Kind() string { return "openapi" }

// Name is the document's URL.
func (p *part) Name() string { return p.name }

// Snapshot says which document is in use and how the last attempt to fetch it
// ended.
func (p *part) Snapshot() any {
	p.remote.mu.Lock()
	state := p.remote.state
	p.remote.mu.Unlock()
	s := map[string]any{"loaded": false, "refresh": p.remote.refresh.String()}
	if d := p.remote.current.Load(); d != nil {
		s["loaded"], s["title"], s["version"], s["operations"] = true, d.title, d.version, d.operations
		s["fetched"] = state.fetched.UTC().Format(time.RFC3339)
	}
	if state.failed != nil {
		s["error"] = state.failed.Error()
	}
	return s
}

// Act knows the action refresh.
func (p *part) Act(ctx context.Context, action string, _ json.RawMessage) (any, error) {
	if action != "refresh" {
		return nil, gateway.ErrUnknownAction
	}
	if err := p.remote.fetch(ctx); err != nil {
		return nil, gateway.BadArgument("fetching %s: %v", p.remote.url, err)
	}
	return p.Snapshot(), nil
}

var _ gateway.Actor = (*part)(nil)
