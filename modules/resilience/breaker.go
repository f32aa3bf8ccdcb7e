package resilience

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
)

// State of a Breaker.
type State uint8

// The states of a breaker. A breaker is half-open while it lets a few probes
// through to find out whether its upstream has recovered.
const (
	Closed State = iota
	Open
	HalfOpen
)

func (s State) String() string {
	return [...]string{"closed", "open", "half-open"}[s]
}

// Rule says what opens a breaker and how it closes again. Rules are compared
// with ==.
type Rule struct {
	// Failures in a row that open the breaker. Zero: they never do.
	Failures uint

	// ErrorRate is the share of failures (0 to 1) within Window that opens the
	// breaker. Zero: the share does not matter.
	ErrorRate float64

	// SlowRate is the share of calls (0 to 1) within Window that take at least
	// SlowOver and open the breaker. Zero: slowness does not matter.
	SlowRate float64
	SlowOver time.Duration

	// Min is how many calls Window must hold before a rate counts.
	Min    uint
	Window time.Duration

	// Open is how long calls are refused before the first probe.
	Open time.Duration

	// Probes is how many calls a half-open breaker lets through at most, and
	// how many must succeed to close it.
	Probes uint

	// Ramp is how long a breaker that has closed is spared a share of the
	// requests. Zero: it is not.
	Ramp time.Duration
}

// Outcome of a call that had a permit.
type Outcome uint8

const (
	// Neither says nothing about the upstream: the client went away.
	Neither Outcome = iota
	Success
	Failure
)

// Transition is a change of a breaker's state. Its zero value is none.
type Transition struct {
	From, To State
	Reason   string
}

// Changed says whether there was a change at all.
func (t Transition) Changed() bool { return t.Reason != "" }

// Reasons of transitions: a closed set, used in logs, events and metrics.
const (
	ReasonFailures  = "failures"
	ReasonErrorRate = "error_rate"
	ReasonSlow      = "slow"
	ReasonProbe     = "probe"
	ReasonElapsed   = "elapsed"
	ReasonForced    = "forced"
)

// Permit allows one call. The breaker ignores what is recorded for a permit
// once its state has changed since: a call that began before the breaker opened
// must not count as a probe.
type Permit struct {
	generation uint64
	probe      bool
}

// Probe says whether the call decides if the breaker closes.
func (p Permit) Probe() bool { return p.probe }

// forever is how far away the end of a forced state is.
const forever = 100 * 365 * 24 * time.Hour

// Breaker decides whether calls to one upstream are allowed. The watchers that
// count outcomes are failsafe-go's breakers; the states, permits and probes are
// kept here, since failsafe-go counts any outcome as a probe's while half-open
// and cannot take a permit back without an outcome. Safe for concurrent use.
type Breaker struct {
	// word is generation<<2 | state: what a call on a closed breaker reads.
	word atomic.Uint64

	mu       sync.Mutex
	rule     Rule
	watchers []watcher
	since    time.Time
	until    time.Time // of Open
	probing  uint      // probes under way
	passed   uint      // probes that succeeded
	probedAt time.Time
	reason   string
	forced   bool
}

// NewBreaker returns a closed breaker.
func NewBreaker(rule Rule, now time.Time) *Breaker {
	b := &Breaker{rule: rule, since: now}
	b.watchers = rule.watchers()
	return b
}

// State returns the state as of the last call; an open breaker whose time is up
// stays open until a call comes.
func (b *Breaker) State() State { return State(b.word.Load() & 3) }

// Ready says whether Acquire would grant a permit.
func (b *Breaker) Ready(now time.Time) bool {
	if b.State() == Closed {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.State() {
	case Open:
		return !now.Before(b.until)
	case HalfOpen:
		return b.hasProbe(now)
	}
	return true
}

// Acquire asks for a permit. Every permit is given back by one Settle.
func (b *Breaker) Acquire(now time.Time) (Permit, Transition, bool) {
	if word := b.word.Load(); State(word&3) == Closed {
		return Permit{generation: word >> 2}, Transition{}, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var change Transition
	if b.State() == Open && !now.Before(b.until) {
		change = b.become(HalfOpen, now, ReasonElapsed)
	}
	switch b.State() {
	case Closed:
		return b.permit(false), change, true
	case HalfOpen:
		if b.hasProbe(now) {
			b.probing++
			b.probedAt = now
			return b.permit(true), change, true
		}
	}
	return Permit{}, change, false
}

// hasProbe says whether another probe may be sent. A probe that has been under
// way for a whole open period is given up: its answer will be ignored.
func (b *Breaker) hasProbe(now time.Time) bool {
	if b.probing+b.passed < b.rule.Probes {
		return true
	}
	if now.Sub(b.probedAt) < b.rule.Open {
		return false
	}
	b.turn(HalfOpen)
	return true
}

// ejected returns the opening of the breaker that a permit has lived to see, if
// the breaker is still open since then.
func (b *Breaker) ejected(p Permit) (ejection, bool) {
	return ejection{b, p.generation}, b.word.Load() == (p.generation+1)<<2|uint64(Open)
}

func (b *Breaker) permit(probe bool) Permit {
	return Permit{generation: b.word.Load() >> 2, probe: probe}
}

// Settle gives a permit back with what came of the call.
func (b *Breaker) Settle(p Permit, o Outcome, took time.Duration, now time.Time) Transition {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.generation != b.word.Load()>>2 || b.forced {
		return Transition{}
	}
	slow := b.rule.SlowRate > 0 && took >= b.rule.SlowOver
	if p.probe {
		return b.settleProbe(o, slow, now)
	}
	if o == Neither {
		return Transition{}
	}
	for i := range b.watchers {
		if w := &b.watchers[i]; w.tripped(o == Failure, slow) {
			return b.become(Open, now, w.reason)
		}
	}
	return Transition{}
}

func (b *Breaker) settleProbe(o Outcome, slow bool, now time.Time) Transition {
	b.probing--
	switch {
	case o == Neither:
		return Transition{}
	case o == Failure || slow:
		return b.become(Open, now, ReasonProbe)
	}
	if b.passed++; b.passed < b.rule.Probes {
		return Transition{}
	}
	return b.become(Closed, now, ReasonProbe)
}

// become changes the state; the caller holds the lock.
func (b *Breaker) become(to State, now time.Time, reason string) Transition {
	change := Transition{From: b.State(), To: to, Reason: reason}
	b.turn(to)
	b.since, b.reason = now, reason
	if to == Open {
		b.until = now.Add(b.rule.Open)
	}
	if to == Closed {
		b.watchers = b.rule.watchers()
	}
	return change
}

// turn begins a new generation: permits of earlier ones no longer count.
func (b *Breaker) turn(to State) {
	b.word.Store((b.word.Load()>>2+1)<<2 | uint64(to))
	b.probing, b.passed = 0, 0
}

// Force holds the breaker open or closed, whatever the outcomes, until Reset.
func (b *Breaker) Force(to State, now time.Time) Transition {
	b.mu.Lock()
	defer b.mu.Unlock()
	change := b.become(to, now, ReasonForced)
	b.forced = true
	b.until = now.Add(forever)
	return change
}

// Reset closes the breaker, forgets what it counted and ends a forced state.
func (b *Breaker) Reset(now time.Time) Transition {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forced = false
	return b.become(Closed, now, ReasonForced)
}

// Adopt replaces the rule and keeps the state: a reload with other thresholds
// does not send calls to an upstream that is known to be down.
func (b *Breaker) Adopt(rule Rule) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if rule == b.rule {
		return
	}
	b.rule = rule
	b.watchers = rule.watchers()
	if b.State() == Open && !b.forced {
		b.until = b.since.Add(rule.Open)
	}
	b.turn(b.State())
}

// RetryAfter is how long a refused caller should wait.
func (b *Breaker) RetryAfter(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forced || !b.until.After(now) {
		return b.rule.Open
	}
	return b.until.Sub(now)
}

// ClosedFor is how long ago the breaker closed after having been open. It is
// forever for one that never opened or is not closed.
func (b *Breaker) ClosedFor(now time.Time) time.Duration {
	if b.word.Load() == 0 {
		return forever
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.State() != Closed || b.reason != ReasonProbe {
		return forever
	}
	return now.Sub(b.since)
}

// Facts are what an operator sees of a breaker.
type Facts struct {
	State    string    `json:"state"`
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason,omitempty"`
	Forced   bool      `json:"forced,omitempty"`
	OpenFor  string    `json:"open_for,omitempty"`
	Calls    uint      `json:"calls"`
	Failures uint      `json:"failures"`
}

// Facts returns the state and the counts of the first watcher: the calls it
// remembers and the failures among them.
func (b *Breaker) Facts(now time.Time) Facts {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := Facts{State: b.State().String(), Since: b.since, Reason: b.reason, Forced: b.forced}
	if b.State() == Open && !b.forced {
		f.OpenFor = max(0, b.until.Sub(now)).Round(time.Millisecond).String()
	}
	if len(b.watchers) > 0 {
		f.Calls = b.watchers[0].counts.Metrics().Executions()
		f.Failures = b.watchers[0].counts.Metrics().Failures()
	}
	return f
}

// watcher is one condition under which a breaker opens, counted by failsafe-go.
type watcher struct {
	counts circuitbreaker.CircuitBreaker[any]
	reason string
}

func (r Rule) watchers() []watcher {
	var ws []watcher
	if r.Failures > 0 {
		b := circuitbreaker.NewBuilder[any]().WithFailureThreshold(r.Failures)
		ws = append(ws, watcher{b.Build(), ReasonFailures})
	}
	if r.ErrorRate > 0 {
		b := circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(r.ErrorRate, r.Min, r.Window)
		ws = append(ws, watcher{b.Build(), ReasonErrorRate})
	}
	if r.SlowRate > 0 {
		b := circuitbreaker.NewBuilder[any]().WithFailureRateThreshold(r.SlowRate, r.Min, r.Window)
		ws = append(ws, watcher{b.Build(), ReasonSlow})
	}
	return ws
}

// tripped counts a call and says whether the condition now holds.
func (w *watcher) tripped(failed, slow bool) bool {
	bad := failed
	if w.reason == ReasonSlow {
		bad = slow
	}
	if bad {
		w.counts.RecordFailure()
	} else {
		w.counts.RecordSuccess()
	}
	return w.counts.IsOpen()
}
