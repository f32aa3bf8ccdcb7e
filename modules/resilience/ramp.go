package resilience

import (
	"math/rand/v2"
	"time"
)

// rampStart is the share of its requests that an upstream gets just after its
// breaker has closed.
const rampStart = 0.1

// spare says whether a request is better sent elsewhere because the upstream
// has only just recovered.
func (t *Transport) spare(u *Upstream, now time.Time) bool {
	ramp := t.settings.rule.Ramp
	if ramp == 0 {
		return false
	}
	since := u.breaker.ClosedFor(now)
	if since >= ramp {
		return false
	}
	share := rampStart + (1-rampStart)*float64(since)/float64(ramp)
	return rand.Float64() >= share
}
