package ratelimit

import "github.com/fairway-gateway/fairway/modules/gateway"

// trace ends the step of a request's trace in which a zone was asked.
func (c *charge) trace(span gateway.Span, v verdict) {
	span.String("fairway.rate_limit.zone", c.zone.name)
	span.String("fairway.rate_limit.outcome", c.outcome(v))
	span.String("fairway.rate_limit.decided_by", sourceNames[c.decision.source])
	if c.decision.ok {
		span.Int("fairway.rate_limit.remaining", int(c.decision.remaining))
	}
	if v == refuse {
		span.Fail(codeTooMany)
	}
	span.End()
}

// outcome names what became of the request, as the metrics do.
func (c *charge) outcome(v verdict) string {
	d := &c.decision
	switch {
	case c.ask.set == nil, v == refuse && d.source == fromConfig:
		return outcomeNames[emptyOut]
	case v == pass:
		return outcomeNames[shadowed]
	}
	return outcomeNames[outcomeOf(d)]
}
