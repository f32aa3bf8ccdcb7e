package resilience

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	// latencyWindow is how long a latency is remembered at least; at most twice
	// as long.
	latencyWindow = 10 * time.Second

	// latencyRefresh is how long a computed quantile is used.
	latencyRefresh = 100 * time.Millisecond

	// latencyMin is how many latencies must be known before a quantile is.
	latencyMin = 50

	// subBits divides every power of two of microseconds into 16 classes, so
	// that a quantile is exact to about 6 %.
	subBits    = 4
	classCount = 40 << subBits
)

// Latencies estimates a quantile of how long calls take. Safe for concurrent
// use; a call costs an atomic addition.
type Latencies struct {
	windows  [2]latencyCounts
	current  atomic.Uint32
	turned   atomic.Int64 // Unix nanoseconds
	cached   atomic.Int64
	computed atomic.Int64 // Unix nanoseconds
}

type latencyCounts [classCount]atomic.Uint32

// Add notes how long a call took.
func (l *Latencies) Add(took time.Duration, now time.Time) {
	l.turn(now.UnixNano())
	l.windows[l.current.Load()&1][latencyClass(took)].Add(1)
}

// turn starts a new window when the current one is old enough.
func (l *Latencies) turn(now int64) {
	last := l.turned.Load()
	if now-last < int64(latencyWindow) || !l.turned.CompareAndSwap(last, now) {
		return
	}
	older := &l.windows[(l.current.Load()+1)&1]
	for i := range older {
		older[i].Store(0)
	}
	l.current.Add(1)
}

// Quantile returns a time that the share q of calls does not exceed, or zero if
// too few calls are known. A caller always asks for the same q.
func (l *Latencies) Quantile(q float64, now time.Time) time.Duration {
	at := now.UnixNano()
	last := l.computed.Load()
	if at-last < int64(latencyRefresh) || !l.computed.CompareAndSwap(last, at) {
		return time.Duration(l.cached.Load())
	}
	d := l.compute(q)
	l.cached.Store(int64(d))
	return d
}

func (l *Latencies) compute(q float64) time.Duration {
	var counts [classCount]uint64
	var total uint64
	for i := range counts {
		counts[i] = uint64(l.windows[0][i].Load()) + uint64(l.windows[1][i].Load())
		total += counts[i]
	}
	if total < latencyMin {
		return 0
	}
	var below uint64
	for i, n := range counts {
		if below += n; float64(below) >= q*float64(total) {
			return latencyBound(i)
		}
	}
	return latencyBound(classCount - 1)
}

// latencyClass returns the class of a duration: its power of two and the bits
// after the leading one.
func latencyClass(d time.Duration) int {
	us := uint64(max(0, d) / time.Microsecond)
	if us < 1<<subBits {
		return int(us)
	}
	power := bits.Len64(us) - 1
	sub := us >> (power - subBits) & (1<<subBits - 1)
	return min((power-subBits+1)<<subBits|int(sub), classCount-1)
}

// latencyBound returns the duration at which a class ends.
func latencyBound(class int) time.Duration {
	class++
	if class < 1<<subBits {
		return time.Duration(class) * time.Microsecond
	}
	power := class>>subBits + subBits - 1
	sub := uint64(class & (1<<subBits - 1))
	return time.Duration((1<<subBits|sub)<<(power-subBits)) * time.Microsecond
}
