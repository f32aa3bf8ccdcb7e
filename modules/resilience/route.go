package resilience

import (
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// routePrefix tells the names of routes from those of transports.
const routePrefix = "route:"

// route is what is remembered about a named route: a breaker and a bulkhead,
// kept as those of an upstream are.
type route struct {
	group    *Group
	settings *settings
	serial   uint64
	failures failures
	reports  *reporter
}

// join takes hold of the route's state and shows it to operators.
func (h *Handler) join(ctx caddy.Context) (err error) {
	if h.Name == "" {
		return nil
	}
	name := routePrefix + h.Name
	r := &route{serial: serials.Add(1), settings: &settings{rule: Rule{Open: time.Minute}}}
	if h.Breaker != nil {
		r.settings.rule = h.Breaker.rule()
	}
	if b := h.Bulkhead; b != nil {
		r.settings.places, r.settings.queue, r.settings.wait = b.Max, b.Queue, b.waits()
	}
	if r.failures, err = parseFailures(h.FailOn); err != nil {
		return err
	}
	if r.reports, err = newReporter(ctx, name); err != nil {
		return err
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	if r.group, err = holdGroup(name, r.settings); err != nil {
		return err
	}
	h.route = r
	r.group.Upstream(name, r.settings, time.Now())
	return showPart(app, &part{what: "resilience", group: r.group, settings: r.settings, reports: r.reports})
}

// Cleanup gives back the route's state if this Provision took it.
func (h *Handler) Cleanup() error {
	if h.route == nil {
		return nil
	}
	_, err := groups.Delete(h.route.group.name)
	return err
}

// state returns the state of the route.
func (r *route) state(now time.Time) *Upstream {
	r.group.adopt(r.serial, r.settings)
	return r.group.Upstream(r.group.name, r.settings, now)
}

// passage is one request's way through a route with a breaker.
type passage struct {
	route   *route
	state   *Upstream
	permit  Permit
	begun   time.Time
	settled bool
}

// enter asks the route's breaker. What has entered is settled and leaves.
func (r *route) enter(p *passage) error {
	now := time.Now()
	u := r.state(now)
	permit, change, ok := u.breaker.Acquire(now)
	r.reports.tell(u, change)
	if !ok {
		r.reports.metrics.refused[whyOpen].Inc()
		return &refusedError{upstream: u.dial, why: whyOpen, wait: u.breaker.RetryAfter(now)}
	}
	*p = passage{route: r, state: u, permit: permit, begun: now}
	u.inFlight.Add(1)
	return nil
}

// settle notes what came of the request, once. A passage that was not entered
// takes no note.
func (p *passage) settle(o Outcome) {
	if p.route == nil || p.settled {
		return
	}
	p.settled = true
	now := time.Now()
	reports := p.route.reports
	reports.tell(p.state, p.state.breaker.Settle(p.permit, o, now.Sub(p.begun), now))
	reports.metrics.outcomes[o].Inc()
}

// answered settles by the status of a response.
func (p *passage) answered(status int) {
	switch {
	case p.route == nil:
	case status == statusClientGone:
		p.settle(Neither)
	default:
		p.settle(outcome(p.route.failures.status(status)))
	}
}

// ended settles by what the handlers behind have returned, if no response has.
func (p *passage) ended(r *http.Request, err error) {
	f := &p.route.failures
	switch status := gateway.StatusOf(err); {
	case r.Context().Err() != nil, status == statusClientGone:
		p.settle(Neither)
	case err == nil:
		p.settle(Success)
	case status == http.StatusGatewayTimeout:
		p.settle(outcome(f.timeouts))
	case status >= http.StatusInternalServerError:
		p.settle(outcome(f.errors))
	default:
		p.settle(outcome(f.status(status)))
	}
}

// leave settles what nothing has settled, after a panic for instance, and ends
// the passage.
func (p *passage) leave() {
	p.settle(Neither)
	p.state.inFlight.Add(-1)
}

// refuseRoute answers a request that the route's breaker turned down.
func (h *Handler) refuseRoute(w http.ResponseWriter, r *http.Request, err error) error {
	if refusal, ok := errors.AsType[*refusedError](err); ok {
		w.Header().Set("Retry-After", retryAfter(refusal.wait))
	}
	return gateway.Fail(r, http.StatusServiceUnavailable, codeUnavailable, nil, err)
}
