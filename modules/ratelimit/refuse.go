package ratelimit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// codeTooMany is the stable code of a refusal.
const codeTooMany = "Too many requests"

const (
	// fieldZone is the access-log field of the zone that refused, and
	// fieldShadow of one that would have.
	fieldZone   = "rate_limit_zone"
	fieldShadow = "rate_limit_shadow_zone"

	// placeholderZone is the same for error routes, as in caddy-ratelimit.
	placeholderZone = "http.rate_limit.exceeded.name"
)

// refuse answers with 429.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, repl *caddy.Replacer, c *charge) error {
	z, d := c.zone, &c.decision
	h.headers.write(w.Header(), z, c.ask.set, d)
	w.Header().Set("Retry-After", retryAfter(d.wait, h.Jitter, rand.Float64()))
	gateway.LogField(r, zap.String(fieldZone, z.name))
	caddyhttp.SetVar(r.Context(), gateway.VarZone, z.name)
	repl.Set(placeholderZone, z.name)
	h.tell(r, c)
	return gateway.Fail(r, http.StatusTooManyRequests, codeTooMany, violated(c), errLimited)
}

var errLimited = errors.New("rate limit exceeded")

// violated names the policy for the error body.
func violated(c *charge) []gateway.Detail {
	d := gateway.Detail{Field: c.zone.name}
	switch {
	case c.decision.banned:
		d.Message = "banned after too many refused requests"
	case c.decision.crowded:
		d.Message = fmt.Sprintf("more than %d at once", c.zone.Concurrent)
	case c.decision.source == fromConfig:
		d.Message = "the client cannot be told apart from others"
	default:
		p := &c.ask.set.policies[c.decision.policy]
		d.Field, d.Message = p.name, "more than "+p.rate.String()
	}
	return []gateway.Detail{d}
}

// tell logs a refusal and emits the event that caddy-ratelimit emits.
func (h *Handler) tell(r *http.Request, c *charge) {
	level := zap.DebugLevel
	if h.LogKey {
		level = zap.InfoLevel
	}
	wait := time.Duration(c.decision.wait) * time.Microsecond
	if entry := h.logger.Check(level, "rate limit exceeded"); entry != nil {
		fields := []zap.Field{zap.String("zone", c.zone.name), zap.Duration("wait", wait), zap.String("remote_ip", remoteIP(r))}
		if h.LogKey {
			fields = append(fields, zap.String("key", c.ask.text))
		}
		entry.Write(fields...)
	}
	if h.events != nil && h.events.ShouldEmit(eventExceeded) {
		h.events.Emit(h.ctx, eventExceeded, map[string]any{"zone": c.zone.name, "wait": wait, "remote_ip": remoteIP(r)})
	}
}

// eventExceeded is emitted for every refusal.
const eventExceeded = "rate_limit_exceeded"
