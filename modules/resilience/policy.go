package resilience

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() {
	caddy.RegisterModule(new(Policy))
}

// Policy is a reverse_proxy selection policy around another one. It leaves out
// upstreams whose breaker would refuse, and shows the pool to the transport.
type Policy struct {
	// The policy that selects among the upstreams that are left. Default:
	// random.
	PolicyRaw json.RawMessage `json:"inner,omitempty" caddy:"namespace=http.reverse_proxy.selection_policies inline_key=policy"`

	// The largest share of the pool that may be left out. What is selected
	// beyond it and has an open breaker is refused by the transport, with a
	// 503 if no other upstream is available. Default: 50%.
	MaxEjection *Percent `json:"max_ejection,omitempty"`

	inner     reverseproxy.Selector
	transport *Transport
	ejectable float64 // share of the pool
}

// CaddyModule returns the Caddy module information.
func (*Policy) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.selection_policies.resilient",
		New: func() caddy.Module { return new(Policy) },
	}
}

// Provision loads the inner policy and finds the transport of the same
// reverse_proxy, which knows the breakers.
func (p *Policy) Provision(ctx caddy.Context) error {
	if p.PolicyRaw == nil {
		p.PolicyRaw = caddyconfig.JSONModuleObject(reverseproxy.RandomSelection{}, "policy", "random", nil)
	}
	inner, err := ctx.LoadModule(p, "PolicyRaw")
	if err != nil {
		return fmt.Errorf("lb_policy resilient: policy: %w", err)
	}
	selector, ok := inner.(reverseproxy.Selector)
	if !ok {
		return fmt.Errorf("lb_policy resilient: policy %T does not select upstreams", inner)
	}
	if _, nested := inner.(*Policy); nested {
		return errors.New("lb_policy resilient: policy must be another than resilient")
	}
	p.inner = selector
	p.ejectable = 0.5
	if p.MaxEjection != nil {
		p.ejectable = p.MaxEjection.Share()
	}
	if proxy := proxyOf(ctx); proxy != nil {
		p.transport, _ = proxy.Transport.(*Transport)
	}
	if p.transport == nil {
		return errors.New("lb_policy resilient: the reverse_proxy must also have `transport resilient`")
	}
	return nil
}

// Select implements reverseproxy.Selector.
func (p *Policy) Select(pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	if ex := exchangeOf(r.Context()); ex != nil {
		ex.pool, ex.policy, ex.header = pool, p, w.Header()
		ex.unadvise()
	}
	return p.choose(pool, r, w, time.Now())
}

// choose applies the inner policy to what is left of the pool.
func (p *Policy) choose(pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter, now time.Time) *reverseproxy.Upstream {
	out := p.refusing(pool, r, now)
	if out == 0 {
		return p.inner.Select(pool, r, w)
	}
	out = min(out, int(p.ejectable*float64(len(pool))))
	if out == 0 {
		return p.inner.Select(pool, r, w)
	}
	if weighted, ok := p.inner.(*reverseproxy.WeightedRoundRobinSelection); ok {
		return p.rotate(weighted, pool, r, w, now)
	}
	left := make(reverseproxy.UpstreamPool, 0, len(pool))
	for _, u := range pool {
		if out > 0 && !p.ready(u, r, now) {
			out--
			continue
		}
		left = append(left, u)
	}
	return p.inner.Select(left, r, w)
}

// rotate turns a policy that knows its upstreams by position until it points at
// one that is ready, or has pointed at all.
func (p *Policy) rotate(inner *reverseproxy.WeightedRoundRobinSelection, pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter, now time.Time) *reverseproxy.Upstream {
	turns := 0
	for _, weight := range inner.Weights {
		turns += weight
	}
	var u *reverseproxy.Upstream
	for range max(1, turns) {
		if u = inner.Select(pool, r, w); u == nil || p.ready(u, r, now) {
			return u
		}
	}
	return u
}

// refusing counts the upstreams that would refuse.
func (p *Policy) refusing(pool reverseproxy.UpstreamPool, r *http.Request, now time.Time) int {
	n := 0
	for _, u := range pool {
		if !p.ready(u, r, now) {
			n++
		}
	}
	return n
}

func (p *Policy) ready(u *reverseproxy.Upstream, r *http.Request, now time.Time) bool {
	t := p.transport
	return t.group.Upstream(dialAddress(r.Context(), u.Dial), t.settings, now).ready(now)
}

var (
	_ caddy.Provisioner     = (*Policy)(nil)
	_ reverseproxy.Selector = (*Policy)(nil)
)
