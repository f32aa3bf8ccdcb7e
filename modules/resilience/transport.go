package resilience

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Transport))
}

// groups holds the state of upstreams by the name of their transports. It
// outlives configs, so that a reload forgets no open breaker.
var groups = caddy.NewUsagePool()

// serials numbers transports in the order of their configs.
var serials atomic.Uint64

// Transport is a reverse_proxy transport around Caddy's `http` one. It gives
// every upstream a breaker and every try a deadline.
type Transport struct {
	// Names the state of the upstreams (their breakers), which is kept over
	// reloads and shared by all transports of the same name. Default:
	// "default".
	Name string `json:"name,omitempty"`

	// How long one try may take until the upstream's response headers arrive.
	// Bodies may take longer. Default: no limit.
	TryTimeout caddy.Duration `json:"try_timeout,omitempty"`

	// When an upstream's breaker opens. Default: after 5 failures in a row,
	// for 60s.
	Breaker *BreakerConfig `json:"breaker,omitempty"`

	// What counts as a failure of an upstream: statuses ("503"), classes
	// ("5xx"), "timeout" and "error" (any other failure to get a response).
	// Default: 500 502 503 504 timeout error.
	FailOn []string `json:"fail_on,omitempty"`

	// What is tried again, and how often. Default: only what never reached an
	// upstream, on another one.
	Retry *RetryConfig `json:"retry,omitempty"`

	// When a second request is sent while the first is without an answer.
	// Default: never.
	Hedge *HedgeConfig `json:"hedge,omitempty"`

	// How many requests an upstream may have at once, and how many may wait.
	// Default: no limit.
	Bulkhead *BulkheadConfig `json:"bulkhead,omitempty"`

	// A limit of the requests at once that follows what the upstream can take,
	// instead of a bulkhead's fixed one. Default: none.
	AdaptiveLimit *AdaptiveConfig `json:"adaptive_limit,omitempty"`

	// How long a response body may be silent before it is broken off. Upgraded
	// connections are not concerned. Default: no limit.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// A request header that tells the upstream how many milliseconds are left
	// to answer: of the try, or of the request if that is less. Default: none.
	DeadlineHeader string `json:"deadline_header,omitempty"`

	// Failures made on purpose. Default: none.
	Fault *FaultConfig `json:"fault,omitempty"`

	// The transport that is wrapped. Default: Caddy's defaults.
	HTTP *reverseproxy.HTTPTransport `json:"http,omitempty"`

	settings *settings
	serial   uint64
	failures failures
	retry    *retryRules
	hedge    *hedgeRules
	group    *Group
	reports  *reporter
	metrics  *transportMetrics
}

// CaddyModule returns the Caddy module information.
func (*Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.resilient",
		New: func() caddy.Module { return new(Transport) },
	}
}

// holdGroup takes hold of the group of a name, which is given back by
// groups.Delete.
func holdGroup(name string, s *settings) (*Group, error) {
	g, _, err := groups.LoadOrNew(name, func() (caddy.Destructor, error) { return newGroup(name, s), nil })
	if err != nil {
		return nil, err
	}
	return g.(*Group), nil
}

// Provision sets up the transport. Breakers that are live are not touched
// before the first request.
func (t *Transport) Provision(ctx caddy.Context) error {
	t.serial = serials.Add(1)
	t.Name = or(t.Name, "default")
	if err := t.validate(); err != nil {
		return fmt.Errorf("transport resilient: %w", err)
	}
	if err := t.readRules(); err != nil {
		return fmt.Errorf("transport resilient: %w", err)
	}
	if t.HTTP == nil {
		t.HTTP = new(reverseproxy.HTTPTransport)
	}
	if err := t.HTTP.Provision(ctx); err != nil {
		return fmt.Errorf("transport resilient: http: %w", err)
	}
	reports, err := newReporter(ctx, t.Name)
	if err != nil {
		return err
	}
	t.reports, t.metrics = reports, metricsOf(t.Name)
	return t.join(ctx)
}

// readRules turns the config into what requests need.
func (t *Transport) readRules() (err error) {
	if t.failures, err = parseFailures(t.FailOn); err != nil {
		return err
	}
	if t.retry, err = t.Retry.rules(); err != nil {
		return err
	}
	if t.hedge, err = t.Hedge.rules(); err != nil {
		return err
	}
	t.settings = &settings{rule: t.Breaker.rule(), share: 0.2, floor: 3}
	if r := t.Retry; r != nil {
		t.settings.share = or(r.Budget, 20).Share()
		t.settings.floor = or(r.Min, 3)
	}
	if b := t.Bulkhead; b != nil {
		t.settings.places, t.settings.queue, t.settings.wait = b.Max, b.Queue, b.waits()
	}
	if a := t.AdaptiveLimit; a != nil {
		t.settings.adaptMin, t.settings.adaptMax = a.Min, a.Max
		t.settings.queue, t.settings.wait = a.Queue, a.bulkhead().waits()
	}
	return nil
}

// join takes hold of the group and shows it to operators.
func (t *Transport) join(ctx caddy.Context) error {
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	if t.Fault != nil {
		if !app.AllowFaults {
			return errors.New("transport resilient: fault is refused without the global option `fairway { allow_faults }`")
		}
		t.reports.logger.Warn("faults are injected on purpose", zap.String("name", t.Name))
	}
	if t.group, err = holdGroup(t.Name, t.settings); err != nil {
		return err
	}
	for _, dial := range t.staticUpstreams(ctx) {
		t.group.Upstream(dial, t.settings, time.Now())
	}
	return showPart(app, &part{what: "transport resilient", group: t.group, settings: t.settings, reports: t.reports})
}

// staticUpstreams returns the dial addresses that the reverse_proxy around this
// transport names in its config.
func (t *Transport) staticUpstreams(ctx caddy.Context) []string {
	proxy := proxyOf(ctx)
	if proxy == nil {
		return nil
	}
	var dials []string
	for _, u := range proxy.Upstreams {
		if !strings.Contains(u.Dial, "{") {
			dials = append(dials, u.Dial)
		}
	}
	return dials
}

// proxyOf returns the reverse_proxy handler that a module is part of, or nil.
func proxyOf(ctx caddy.Context) *reverseproxy.Handler {
	for _, m := range ctx.Modules() {
		if h, ok := m.(*reverseproxy.Handler); ok {
			return h
		}
	}
	return nil
}

func (t *Transport) validate() error {
	if t.TryTimeout < 0 {
		return fmt.Errorf("try_timeout must be positive, got %s", time.Duration(t.TryTimeout))
	}
	if strings.ContainsAny(t.Name, "{}") {
		return fmt.Errorf("name must be without placeholders, got %q", t.Name)
	}
	if t.Bulkhead != nil && t.AdaptiveLimit != nil {
		return errors.New("bulkhead and adaptive_limit are alternatives")
	}
	if t.IdleTimeout < 0 {
		return fmt.Errorf("idle_timeout must be positive, got %s", time.Duration(t.IdleTimeout))
	}
	if t.DeadlineHeader != "" && !httpguts.ValidHeaderFieldName(t.DeadlineHeader) {
		return fmt.Errorf("deadline_header must be a header's name, got %q", t.DeadlineHeader)
	}
	return cmp.Or(t.Breaker.validate(), t.Retry.validate(), t.Bulkhead.validate(), t.AdaptiveLimit.validate(), t.Fault.validate())
}

// Cleanup gives back the group if this Provision took it.
func (t *Transport) Cleanup() error {
	var errs []error
	if t.group != nil {
		_, err := groups.Delete(t.Name)
		errs = append(errs, err)
	}
	if t.HTTP != nil {
		errs = append(errs, t.HTTP.Cleanup())
	}
	return errors.Join(errs...)
}

// TLSEnabled says whether the wrapped transport uses TLS.
func (t *Transport) TLSEnabled() bool { return t.HTTP != nil && t.HTTP.TLSEnabled() }

// EnableTLS makes the wrapped transport use TLS.
func (t *Transport) EnableTLS(base *reverseproxy.TLSConfig) error {
	return t.inner().EnableTLS(base)
}

// EnableH2C makes the wrapped transport use HTTP/2 without TLS.
func (t *Transport) EnableH2C() error { return t.inner().EnableH2C() }

// ProxyProtocolEnabled says whether the wrapped transport sends the PROXY
// protocol.
func (t *Transport) ProxyProtocolEnabled() bool {
	return t.HTTP != nil && t.HTTP.ProxyProtocolEnabled()
}

// OverrideHealthCheckScheme makes active health checks use TLS as the wrapped
// transport does.
func (t *Transport) OverrideHealthCheckScheme(base *url.URL, port string) {
	t.inner().OverrideHealthCheckScheme(base, port)
}

// RequestHeaderOps returns the wrapped transport's changes to request headers.
func (t *Transport) RequestHeaderOps() *headers.HeaderOps { return t.inner().RequestHeaderOps() }

func (t *Transport) inner() *reverseproxy.HTTPTransport {
	if t.HTTP == nil {
		t.HTTP = new(reverseproxy.HTTPTransport)
	}
	return t.HTTP
}

var (
	_ caddy.Provisioner                                = (*Transport)(nil)
	_ caddy.CleanerUpper                               = (*Transport)(nil)
	_ http.RoundTripper                                = (*Transport)(nil)
	_ reverseproxy.TLSTransport                        = (*Transport)(nil)
	_ reverseproxy.H2CTransport                        = (*Transport)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*Transport)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*Transport)(nil)
)
