package ratelimit

import (
	"context"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// charge is what one zone charged for a request.
type charge struct {
	zone     *Zone
	ask      ask
	decision decision
	entered  bool // holds a permit
}

// ServeHTTP asks every zone that concerns the request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	charged := make([]charge, 0, len(h.zones)) // never grows: others keep pointers into it
	counting, entered := false, false
	for _, z := range h.zones {
		matched, exempt, err := z.concerns(r)
		if err != nil {
			refundAll(charged)
			return err
		}
		if !matched {
			continue
		}
		if exempt {
			z.limiter.tally.add(exempted, fromConfig)
			continue
		}
		_, span := gateway.StartSpan(r.Context(), "rate_limit")
		c := &charged[:len(charged)+1][len(charged)]
		c.zone = z
		verdict := h.ask(c, r, repl)
		if span.On() {
			c.trace(span, verdict)
		}
		switch verdict {
		case pass:
			*c = charge{}
		case refuse:
			refundAll(charged)
			return h.refuse(w, r, repl, c)
		case count:
			charged = charged[:len(charged)+1]
			counting = counting || z.CountIf != nil
			entered = entered || c.entered
		}
	}
	if entered {
		defer leaveAll(charged) // also if the next handler panics
	}
	for i := range charged {
		c := &charged[i]
		h.headers.write(w.Header(), c.zone, c.ask.set, &c.decision)
	}
	if counting {
		return serveCounting(w, r, next, charged)
	}
	return next.ServeHTTP(w, r)
}

// verdict is what a zone's decision means for the request.
type verdict uint8

const (
	pass verdict = iota
	count
	refuse
)

// ask puts a request to the charge's zone.
func (h *Handler) ask(c *charge, r *http.Request, repl *caddy.Replacer) verdict {
	z := c.zone
	key, ok := z.key.expand(repl)
	if !ok && z.onEmpty != emptyShare {
		if z.onEmpty == emptySkip || z.shadow {
			z.limiter.tally.add(emptyOut, fromConfig)
			return pass
		}
		return h.refuseEmpty(c)
	}
	c.ask = ask{key: KeyOf(key), text: key, set: z.set(repl), cost: z.cost.of(repl), bounds: z.bounds}
	h.decide(r.Context(), c)
	d := &c.decision
	switch {
	case d.ok:
		z.limiter.tally.add(admitted, d.source)
		return count
	case z.shadow:
		z.limiter.tally.add(shadowed, d.source)
		gateway.LogField(r, zap.String(fieldShadow, z.name))
		return pass
	}
	z.limiter.tally.add(outcomeOf(d), d.source)
	return refuse
}

// decide asks for a permit first, if the zone limits those, since it is given
// back without trace.
func (h *Handler) decide(ctx context.Context, c *charge) {
	z := c.zone
	if z.Concurrent > 0 {
		c.entered = z.limiter.enter(ctx, c.ask.key, c.ask.text, uint32(z.Concurrent))
		if !c.entered {
			c.decision = decision{crowded: true, wait: crowdedWait, reset: crowdedWait}
			return
		}
	}
	z.limiter.take(ctx, &c.ask, &c.decision)
	if !c.decision.ok {
		c.leave()
	}
}

// crowdedWait is what a client is told to wait, in µs, when it has too many
// requests under way: nobody knows when one ends.
const crowdedWait = 1_000_000

func (h *Handler) refuseEmpty(c *charge) verdict {
	c.zone.limiter.tally.add(emptyOut, fromConfig)
	c.ask.set = c.zone.base
	c.decision = decision{source: fromConfig, wait: 1}
	// Anybody can cause this line, so it is written once in a while only.
	now := time.Now().Unix()
	if last := c.zone.emptyLogged.Load(); now-last < emptyLogEvery || !c.zone.emptyLogged.CompareAndSwap(last, now) {
		return refuse
	}
	h.logger.Warn("the key of a rate-limit zone is empty; the request is refused (see on_empty)",
		zap.String("zone", c.zone.name), zap.Strings("placeholders", c.zone.key.placeholders))
	return refuse
}

// emptyLogEvery is in seconds.
const emptyLogEvery = 10

func refundAll(charged []charge) {
	for i := range charged {
		c := &charged[i]
		c.zone.limiter.refund(&c.ask, &c.decision)
	}
	leaveAll(charged)
}

func leaveAll(charged []charge) {
	for i := range charged {
		charged[i].leave()
	}
}

// leave gives the permit back, if the charge has one.
func (c *charge) leave() {
	if c.entered {
		c.entered = false
		c.zone.limiter.leave(c.ask.key, uint32(c.zone.Concurrent))
	}
}
