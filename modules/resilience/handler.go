package resilience

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler bounds what a route may cost and gives another answer when the
// upstreams cannot. It stands just before reverse_proxy.
type Handler struct {
	// Names the state of the route (its breaker and its bulkhead), which is then
	// kept over reloads and shown to operators. Required with Breaker. Default:
	// none; a bulkhead begins anew with every reload then.
	Name string `json:"name,omitempty"`

	// When the breaker of the whole route opens: whatever stands behind this
	// handler is not asked then. Default: never.
	Breaker *BreakerConfig `json:"breaker,omitempty"`

	// What counts as a failure of the route: statuses ("503"), classes ("5xx"),
	// "timeout" (an error of status 504) and "error" (any other of 500 and
	// above). Default: 500 502 503 504 timeout error.
	FailOn []string `json:"fail_on,omitempty"`

	// How long a request may take, tries, queues and all, until response
	// headers are written. Bodies may take longer. Default: no limit.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// How many requests of this route may be under way at once. Default: no
	// limit.
	Bulkhead *BulkheadConfig `json:"bulkhead,omitempty"`

	// Who goes first when a bulkhead is full, the route's or an upstream's.
	// Default: all are alike.
	Priority *PriorityConfig `json:"priority,omitempty"`

	// What to answer, first that can, if the upstreams give no response.
	// Default: the error itself.
	Fallbacks []Fallback `json:"fallback,omitempty"`

	bulkhead *Bulkhead // of a route without a name
	route    *route    // nil without a name
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.resilience",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision sets up the handler.
func (h *Handler) Provision(ctx caddy.Context) error {
	if err := h.validate(); err != nil {
		return fmt.Errorf("resilience: %w", err)
	}
	if err := h.join(ctx); err != nil {
		return fmt.Errorf("resilience: %w", err)
	}
	h.Priority.provision()
	if b := h.Bulkhead; b != nil && h.Name == "" {
		h.bulkhead = NewBulkhead(b.Max, b.Queue, b.waits())
	}
	for i := range h.Fallbacks {
		if err := h.Fallbacks[i].provision(ctx); err != nil {
			return fmt.Errorf("resilience: fallback: %w", err)
		}
	}
	return gateway.RegisterMetrics(ctx, collectors()...)
}

func (h *Handler) validate() error {
	if h.Timeout < 0 {
		return fmt.Errorf("timeout must be positive, got %s", time.Duration(h.Timeout))
	}
	if err := h.validateRoute(); err != nil {
		return err
	}
	if err := h.Priority.validate(); err != nil {
		return err
	}
	for _, f := range h.Fallbacks {
		if err := f.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) validateRoute() error {
	switch {
	case strings.ContainsAny(h.Name, "{}"):
		return fmt.Errorf("name must be without placeholders, got %q", h.Name)
	case h.Breaker != nil && h.Name == "":
		return errors.New("breaker needs a name, under which its state is kept")
	case h.FailOn != nil && h.Breaker == nil:
		return errors.New("fail_on means something only with a breaker")
	}
	if _, err := parseFailures(h.FailOn); err != nil {
		return err
	}
	if h.Breaker != nil && h.Breaker.Ramp != 0 {
		return fmt.Errorf("breaker: ramp (%s) is for upstreams, not for a route", time.Duration(h.Breaker.Ramp))
	}
	return cmp.Or(h.Breaker.validate(), h.Bulkhead.validate())
}

// visit is one request's way through the handler.
type visit struct {
	sentry
	exchange
	limit scope // of the timeout
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	v := new(visit)
	v.ResponseWriter = w
	priority := h.Priority.class(r)
	if ex := v.join(r); ex != nil {
		ex.writer, ex.header, ex.priority = w, w.Header(), priority
		defer func(outer bounds) { ex.bounds = outer }(ex.bounds)
		if h.Timeout > 0 {
			ex.bounds = bounds{whole: &v.limit, deadline: time.Now().Add(time.Duration(h.Timeout))}
		}
	}
	err := h.guarded(v, r, priority, next)
	if err == nil || v.wrote {
		return err
	}
	return h.fallBack(w, r, err)
}

// guarded passes the request on if the route's breaker allows it.
func (h *Handler) guarded(v *visit, r *http.Request, p Priority, next caddyhttp.Handler) error {
	if h.route == nil {
		return h.bounded(v, r, p, next)
	}
	if err := h.route.enter(&v.passage); err != nil {
		return h.refuseRoute(v, r, err)
	}
	defer v.passage.leave()
	err := h.bounded(v, r, p, next)
	if !v.shed {
		v.passage.ended(r, err)
	}
	return err
}

// join returns the exchange of the request: the visit's own, or that of another
// handler around this one.
func (v *visit) join(r *http.Request) *exchange {
	vars, ok := r.Context().Value(caddyhttp.VarsCtxKey).(map[string]any)
	if !ok {
		return nil
	}
	if ex, ok := vars[varExchange].(*exchange); ok {
		return ex
	}
	vars[varExchange] = &v.exchange
	return &v.exchange
}

// bounded passes the request on within the bulkhead and the timeout.
func (h *Handler) bounded(v *visit, r *http.Request, p Priority, next caddyhttp.Handler) error {
	if h.Timeout > 0 {
		v.limit.begin(r.Context(), &v.limit)
		defer v.limit.end(context.Canceled)
		defer v.limit.finish()
		v.whole = &v.limit
		v.alarm = setAlarm(time.Duration(h.Timeout), &v.sentry)
		defer v.disarm()
		r = r.WithContext(&v.limit)
	}
	if place := h.places(); place != nil {
		if err := place.Enter(r.Context(), p); err != nil {
			return h.refuse(v, r, err)
		}
		v.place = place
		defer v.leave()
	}
	err := next.ServeHTTP(&v.sentry, r)
	if !v.wrote && v.whole.timedOut() && gateway.StatusOf(err) != http.StatusRequestTimeout {
		return gateway.Fail(r, http.StatusGatewayTimeout, codeTimeout, nil, opaque(errTotalTimeout, err))
	}
	return err
}

// places returns the route's bulkhead, or nil.
func (h *Handler) places() *Bulkhead {
	if h.route == nil {
		return h.bulkhead
	}
	return h.route.state(time.Now()).bulkhead.Load()
}

// refuse answers a request that found no place in the bulkhead.
func (h *Handler) refuse(v *visit, r *http.Request, err error) error {
	switch {
	case v.whole.timedOut():
		return gateway.Fail(r, http.StatusGatewayTimeout, codeTimeout, nil, err)
	case errors.Is(err, errFull):
		shedTotal.WithLabelValues("full").Inc()
	case errors.Is(err, errWaited):
		shedTotal.WithLabelValues("wait").Inc()
	default:
		return caddyhttp.Error(statusClientGone, err)
	}
	v.shed = true
	if h.route != nil {
		h.route.reports.metrics.refused[whyFull].Inc()
	}
	v.Header().Set("Retry-After", retryAfter(time.Duration(h.Bulkhead.Wait)))
	return gateway.Fail(r, http.StatusServiceUnavailable, codeUnavailable, nil, err)
}

// statusClientGone is what Caddy logs for a client that went away.
const statusClientGone = 499

// sentry watches for the response's headers: with them the timeout ends and no
// fallback is possible any more.
type sentry struct {
	caddyhttp.ResponseWriterWrapper
	whole *scope    // ends with the timeout; nil without one
	alarm *alarm    // of the timeout; nil without one, and when it has been stopped
	place *Bulkhead // where the request has a place; nil if there is none
	wrote bool
	shed  bool // the bulkhead had no place

	passage passage
}

// ring ends the request when its timeout has passed.
func (s *sentry) ring() { s.whole.end(errTotalTimeout) }

func (s *sentry) disarm() {
	s.alarm.stop()
	s.alarm = nil
}

// leave gives the place in the route's bulkhead back.
func (s *sentry) leave() {
	if s.place != nil {
		s.place.Leave()
		s.place = nil
	}
}

// WriteHeader implements http.ResponseWriter.
func (s *sentry) WriteHeader(status int) {
	if s.wrote || s.tooLate(status) {
		return
	}
	if status >= 200 || status == http.StatusSwitchingProtocols {
		s.wrote = true
		s.disarm()
		s.passage.answered(status)
	}
	if status == http.StatusSwitchingProtocols {
		s.leave() // the connection stops being a request
	}
	s.ResponseWriterWrapper.WriteHeader(status)
}

// tooLate says whether this is reverse_proxy taking our timeout for a client
// that went away; ServeHTTP answers instead.
func (s *sentry) tooLate(status int) bool { return status == statusClientGone && s.whole.timedOut() }

// ReadFrom implements io.ReaderFrom.
func (s *sentry) ReadFrom(r io.Reader) (int64, error) {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return s.ResponseWriterWrapper.ReadFrom(r)
}

// FlushError implements what http.ResponseController looks for. Flushing writes
// the headers, if nothing has.
func (s *sentry) FlushError() error {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(s.ResponseWriterWrapper.ResponseWriter).Flush()
}

// Write implements http.ResponseWriter.
func (s *sentry) Write(p []byte) (int, error) {
	if !s.wrote {
		s.WriteHeader(http.StatusOK)
	}
	return s.ResponseWriterWrapper.Write(p)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ http.ResponseWriter         = (*sentry)(nil)
)
