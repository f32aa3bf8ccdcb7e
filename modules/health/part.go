package health

import (
	"fmt"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// part shows an endpoint's checks in the admin API: what was found last,
// without asking anew.
type part struct {
	name   string
	checks []*check
}

// register makes the handler a part. Several sites may have an endpoint of the
// same name; the second is called name#2.
func register(app *gateway.App, h *Handler) error {
	p := &part{name: h.Name, checks: h.checks}
	taken := map[string]bool{}
	for _, other := range app.Parts() {
		if other.Kind() == p.Kind() {
			taken[other.Name()] = true
		}
	}
	for n := 2; taken[p.name]; n++ {
		p.name = fmt.Sprintf("%s#%d", h.Name, n)
	}
	return app.Register(p)
}

// Kind is "health".
func (p *part) Kind() string { return "health" }

// Name is the path of the endpoint.
func (p *part) Name() string { return p.name }

// Snapshot returns the last outcome of each check, errors in full.
func (p *part) Snapshot() any {
	all := make(map[string]checkReport, len(p.checks))
	for _, c := range p.checks {
		o := c.snapshot()
		r := c.describe(o)
		if o.err != nil {
			r.Error = o.err.Error()
		}
		all[c.name] = r
	}
	return map[string]any{"checks": all}
}

var _ gateway.Part = (*part)(nil)
