package ratelimit

import (
	"sync/atomic"
	"time"
)

// outcome is how a zone answered a request.
type outcome uint8

const (
	admitted outcome = iota
	denied
	bannedOut
	fullOut
	crowdedOut
	emptyOut
	exempted
	shadowed
	outcomes
)

var outcomeNames = [outcomes]string{"admitted", "denied", "banned", "full", "concurrent", "empty_key", "exempt", "shadow_denied"}

const sources = int(fromConfig) + 1

var sourceNames = [sources]string{"memory", "lease", "redis", "deny_cache", "fallback", "config"}

// tally counts what a zone did. Metrics and snapshots read it, so that both tell
// the same.
type tally struct {
	outcomes [outcomes]atomic.Uint64
	sources  [sources]atomic.Uint64
	trips    atomic.Uint64
	failures atomic.Uint64
	leased   atomic.Uint64 // events granted by Redis
}

func (t *tally) add(o outcome, s source) {
	t.outcomes[o].Add(1)
	t.sources[s].Add(1)
}

func (t *tally) trip(start time.Time, r *reply, err error) {
	t.trips.Add(1)
	redisSeconds.Observe(time.Since(start).Seconds())
	if err != nil {
		t.failures.Add(1)
		return
	}
	if r.granted > 0 {
		t.leased.Add(uint64(r.granted))
		leaseEvents.Observe(float64(r.granted))
	}
}

// outcomeOf translates a decision.
func outcomeOf(d *decision) outcome {
	switch {
	case d.ok:
		return admitted
	case d.banned:
		return bannedOut
	case d.crowded:
		return crowdedOut
	case d.full:
		return fullOut
	}
	return denied
}
