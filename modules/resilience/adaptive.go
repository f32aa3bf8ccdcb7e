package resilience

import (
	"math"
	"sync"
	"time"
)

const (
	// adaptEvery is how often a limit is reconsidered, if there are enough
	// calls to judge by.
	adaptEvery = 100 * time.Millisecond

	// adaptMin is how many calls a judgement takes.
	adaptMin = 10

	// tolerance is by how much calls may take longer than at their best before
	// the limit shrinks.
	tolerance = 2.0

	// forget is the share by which the best latency known moves towards the
	// present one with every judgement while the upstream is not pressed, so
	// that one which has become slower for good is judged by what it does now.
	// Under pressure the present latency says nothing about the best; only at
	// the limit's floor it does.
	forget = 0.05

	// shrink is what a failure that speaks of overload leaves of the limit.
	shrink = 0.9
)

// Adaptive finds out how many calls an upstream takes at once before they only
// queue up there: by the gradient between the latency at its best and the
// present one, and by additive increase and multiplicative decrease on
// overload. Safe for concurrent use.
type Adaptive struct {
	mu       sync.Mutex
	min, max float64
	limit    float64
	best     float64 // seconds
	sum      float64
	calls    int
	peak     int // calls at once since the last judgement
	overload bool
	judged   time.Time
}

// NewAdaptive returns a limit that starts at its floor, or at 20 if that is
// allowed.
func NewAdaptive(floor, ceiling int) *Adaptive {
	return &Adaptive{min: float64(floor), max: float64(ceiling), limit: float64(min(max(20, floor), ceiling))}
}

// Limit returns the present limit.
func (a *Adaptive) Limit() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int(a.limit)
}

// Done notes a call that has been answered: how long that took, how many calls
// were under way with it, and whether the answer speaks of overload (a timeout,
// 429 or 503). It returns the limit.
func (a *Adaptive) Done(took time.Duration, atOnce int, overload bool, now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	a.sum += took.Seconds()
	a.peak = max(a.peak, atOnce)
	a.overload = a.overload || overload
	if a.calls >= adaptMin && now.Sub(a.judged) >= adaptEvery {
		a.judge(now)
	}
	return int(a.limit)
}

func (a *Adaptive) judge(now time.Time) {
	mean := a.sum / float64(a.calls)
	pressed := float64(a.peak) >= a.limit/2
	if a.best == 0 || mean < a.best {
		a.best = mean
	} else if !pressed || a.limit == a.min {
		a.best += (mean - a.best) * forget
	}
	switch gradient := math.Min(1, tolerance*a.best/math.Max(mean, 1e-9)); {
	case a.overload:
		a.limit *= shrink
	case gradient < 1:
		a.limit *= 0.8 + 0.2*gradient // smoothly: a mean of few calls is noisy
	case pressed:
		a.limit += math.Sqrt(a.limit) / 4 // only what is used may grow
	}
	a.limit = math.Max(a.min, math.Min(a.max, a.limit))
	a.sum, a.calls, a.peak, a.overload, a.judged = 0, 0, 0, false, now
}
