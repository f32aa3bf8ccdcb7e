package resilience

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
	again     reverseproxy.Selector // the same policy for retries, which must not turn what first tries rotate through
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
	raw := p.PolicyRaw
	var err error
	if p.inner, err = p.load(ctx); err != nil {
		return fmt.Errorf("lb_policy resilient: %w", err)
	}
	p.PolicyRaw = raw
	if p.again, err = p.load(ctx); err != nil {
		return fmt.Errorf("lb_policy resilient: %w", err)
	}
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

// load returns an instance of the inner policy.
func (p *Policy) load(ctx caddy.Context) (reverseproxy.Selector, error) {
	inner, err := ctx.LoadModule(p, "PolicyRaw")
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	if _, nested := inner.(*Policy); nested {
		return nil, errors.New("policy must be another than resilient")
	}
	selector, ok := inner.(reverseproxy.Selector)
	if !ok {
		return nil, fmt.Errorf("policy %T does not select upstreams", inner)
	}
	return selector, nil
}

// Select implements reverseproxy.Selector.
func (p *Policy) Select(pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter) *reverseproxy.Upstream {
	if ex := exchangeOf(r.Context()); ex != nil {
		ex.pool, ex.policy, ex.writer, ex.header = pool, p, w, w.Header()
		ex.unadvise()
	}
	now := time.Now()
	out := p.refusing(pool, r, now)
	keep := len(pool) - int(p.ejectable*float64(len(pool)))
	if len(out) == 0 || keep == len(pool) {
		return p.inner.Select(pool, r, w)
	}
	if weighted, ok := p.inner.(*reverseproxy.WeightedRoundRobinSelection); ok {
		return p.rotate(weighted, pool, r, w, out)
	}
	left := make(reverseproxy.UpstreamPool, 0, len(pool))
	for i, u := range pool {
		if !out.has(i) || len(pool)-i <= keep-len(left) {
			left = append(left, u)
		}
	}
	return p.inner.Select(left, r, w)
}

// places is a set of positions in a pool.
type places []int

func (s places) has(i int) bool { return slices.Contains(s, i) }

// refusing returns the positions of upstreams that are better left out: those
// that would refuse, and for a share of the requests those whose breaker has
// closed only recently.
func (p *Policy) refusing(pool reverseproxy.UpstreamPool, r *http.Request, now time.Time) (out places) {
	for i, u := range pool {
		state := p.state(u, r, now)
		if !state.ready(now) || p.transport.spare(state, now) {
			out = append(out, i)
		}
	}
	return out
}

// rotate turns a policy that knows its upstreams by position until it points at
// one that is not to be left out, or has pointed at all.
func (p *Policy) rotate(inner *reverseproxy.WeightedRoundRobinSelection, pool reverseproxy.UpstreamPool, r *http.Request, w http.ResponseWriter, out places) *reverseproxy.Upstream {
	turns := 0
	for _, weight := range inner.Weights {
		turns += weight
	}
	var u *reverseproxy.Upstream
	for range max(1, turns) {
		if u = inner.Select(pool, r, w); u == nil || !out.has(slices.Index(pool, u)) {
			return u
		}
	}
	return u
}

// another returns an upstream of the exchange's pool that has not been tried
// and would not refuse, or nil; and the cookies that the client is to get if the
// request goes there.
func (p *Policy) another(ex *exchange, r *http.Request, tried []*reverseproxy.Upstream, now time.Time) (u *reverseproxy.Upstream, cookies []string) {
	left := p.untried(ex.pool, r, tried, now)
	if len(left) == 0 {
		return nil, nil
	}
	if _, weighted := p.inner.(*reverseproxy.WeightedRoundRobinSelection); weighted {
		return p.byLot(ex.pool, left), nil
	}
	w := aside{ex.writer, make(http.Header)}
	u = p.again.Select(left, r, w)
	return u, w.header["Set-Cookie"]
}

// aside is a response of which only the header is written, and not to the client.
type aside struct {
	http.ResponseWriter
	header http.Header
}

func (a aside) Header() http.Header { return a.header }

// byLot draws one of those left of a pool, by their weights.
func (p *Policy) byLot(pool, left reverseproxy.UpstreamPool) *reverseproxy.Upstream {
	sum := 0
	for i, u := range pool {
		if slices.Contains(left, u) {
			sum += p.weight(i)
		}
	}
	lot := rand.IntN(sum) // untried leaves out what has no weight
	for i, u := range pool {
		if !slices.Contains(left, u) {
			continue
		}
		if lot -= p.weight(i); lot < 0 {
			return u
		}
	}
	return nil
}

// quietest returns, of the upstreams that have not been tried and would not
// refuse, the one with the fewest tries in flight, or nil. Unlike another it
// may be called while the request is under way: it leaves the client's response
// alone.
func (p *Policy) quietest(pool reverseproxy.UpstreamPool, r *http.Request, tried []*reverseproxy.Upstream, now time.Time) *reverseproxy.Upstream {
	left := p.untried(pool, r, tried, now)
	if len(left) == 0 {
		return nil
	}
	return slices.MinFunc(left, func(a, b *reverseproxy.Upstream) int {
		return cmp.Compare(p.state(a, r, now).inFlight.Load(), p.state(b, r, now).inFlight.Load())
	})
}

func (p *Policy) untried(pool reverseproxy.UpstreamPool, r *http.Request, tried []*reverseproxy.Upstream, now time.Time) reverseproxy.UpstreamPool {
	var left reverseproxy.UpstreamPool
	for i, u := range pool {
		if !slices.Contains(tried, u) && u.Available() && p.weight(i) > 0 && p.state(u, r, now).ready(now) {
			left = append(left, u)
		}
	}
	return left
}

// weight returns the weight of the upstream at a position, for the policy that
// has weights.
func (p *Policy) weight(i int) int {
	weighted, ok := p.inner.(*reverseproxy.WeightedRoundRobinSelection)
	switch {
	case !ok:
		return 1
	case i >= len(weighted.Weights):
		return 0
	}
	return weighted.Weights[i]
}

func (p *Policy) state(u *reverseproxy.Upstream, r *http.Request, now time.Time) *Upstream {
	t := p.transport
	return t.group.Upstream(dialAddress(r.Context(), u.Dial), t.settings, now)
}

var (
	_ caddy.Provisioner     = (*Policy)(nil)
	_ reverseproxy.Selector = (*Policy)(nil)
)
