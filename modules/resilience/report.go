package resilience

import (
	"go.uber.org/zap"
)

// eventBreaker is the name of the Caddy event that follows a breaker's change
// of state; {event.data.upstream}, {event.data.to} and {event.data.reason} say
// which and why.
const eventBreaker = "breaker"

// report tells operators about a breaker's change of state.
func (t *Transport) report(u *Upstream, change Transition) {
	if !change.Changed() {
		return
	}
	t.metrics.transition(change.To)
	log := t.logger.Info
	if change.To == Open {
		log = t.logger.Warn
	}
	log("breaker changed",
		zap.String("name", t.Name),
		zap.String("upstream", u.dial),
		zap.String("from", change.From.String()),
		zap.String("to", change.To.String()),
		zap.String("reason", change.Reason))
	t.events.Emit(t.ctx, eventBreaker, map[string]any{
		"name":     t.Name,
		"upstream": u.dial,
		"from":     change.From.String(),
		"to":       change.To.String(),
		"reason":   change.Reason,
	})
}
