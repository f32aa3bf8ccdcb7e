package ratelimit

import (
	"time"

	"go.uber.org/zap"
)

// forCaddyRateLimit reports whether the handler is configured for
// mholt/caddy-ratelimit: it has options that only that knows.
func (h *Handler) forCaddyRateLimit() bool {
	return h.Distributed != nil || len(h.StorageRaw) > 0
}

// warnCompat says what became of options that mean nothing here, and of windows
// that are short for what they are asked to do.
func (h *Handler) warnCompat(resolved map[*Zone]*settings) {
	if h.Distributed != nil && h.redis == nil {
		h.logger.Warn("rate_limit: distributed does nothing without Redis: counts are this process's own; use fairway { redis URL }")
	} else if h.Distributed != nil {
		h.logger.Warn("rate_limit: distributed is not needed: all counts are shared through Redis at every charge; its intervals are ignored")
	}
	if len(h.StorageRaw) > 0 {
		h.logger.Warn("rate_limit: storage is not used: counts are kept in memory and Redis; use fairway { redis URL } to share them")
	}
	if h.redis == nil {
		return
	}
	for z := range resolved {
		for _, set := range z.tiers {
			if width := time.Duration(set.minWidth) * time.Microsecond; !set.gcra && width < h.redis.Timeout() {
				h.logger.Warn("rate_limit: a slot of this window is shorter than the timeout of Redis; use fewer slots or a longer window",
					zap.String("zone", z.name), zap.Duration("slot", width), zap.Duration("timeout", h.redis.Timeout()))
			}
		}
	}
}
