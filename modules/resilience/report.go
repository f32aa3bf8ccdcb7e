package resilience

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// eventBreaker is the name of the Caddy event that follows a breaker's change
// of state; {event.data.upstream}, {event.data.to} and {event.data.reason} say
// which and why.
const eventBreaker = "breaker"

// reporter tells operators about breakers: those of one transport, or that of a
// route.
type reporter struct {
	name    string
	ctx     caddy.Context
	events  *caddyevents.App
	logger  *zap.Logger
	metrics breakerMetrics
}

func newReporter(ctx caddy.Context, name string) (*reporter, error) {
	events, err := ctx.App("events")
	if err != nil {
		return nil, fmt.Errorf("getting the events app: %w", err)
	}
	if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
		return nil, err
	}
	return &reporter{
		name: name, ctx: ctx, logger: ctx.Logger(),
		events:  events.(*caddyevents.App),
		metrics: breakerMetricsOf(name),
	}, nil
}

// tell reports a breaker's change of state, if there was one.
func (r *reporter) tell(u *Upstream, change Transition) {
	if !change.Changed() {
		return
	}
	r.metrics.to[change.To].Inc()
	log := r.logger.Info
	if change.To == Open {
		log = r.logger.Warn
	}
	log("breaker changed",
		zap.String("name", r.name),
		zap.String("upstream", u.dial),
		zap.String("from", change.From.String()),
		zap.String("to", change.To.String()),
		zap.String("reason", change.Reason))
	r.events.Emit(r.ctx, eventBreaker, map[string]any{
		"name":     r.name,
		"upstream": u.dial,
		"from":     change.From.String(),
		"to":       change.To.String(),
		"reason":   change.Reason,
	})
}
