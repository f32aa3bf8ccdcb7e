package gateway

import "time"

// Doubled is d doubled so many times, but at most limit: the pause before another
// attempt, say. It does not overflow.
func Doubled(d time.Duration, times int, limit time.Duration) time.Duration {
	for ; times > 0 && d < limit; times-- {
		d += min(d, limit-d)
	}
	return min(d, limit)
}
