package resilience

import (
	"testing"
	"testing/synctest"
	"time"
)

var fiveFailures = Rule{Failures: 5, Min: 20, Window: 10 * time.Second, Open: time.Minute, Probes: 1}

// once acquires and settles one call, and says whether it was allowed.
func once(b *Breaker, o Outcome) bool {
	p, _, ok := b.Acquire(time.Now())
	if ok {
		b.Settle(p, o, 0, time.Now())
	}
	return ok
}

func calls(b *Breaker, n int, o Outcome) (allowed int) {
	for range n {
		if once(b, o) {
			allowed++
		}
	}
	return allowed
}

func wantState(t *testing.T, b *Breaker, want State) {
	t.Helper()
	if got := b.State(); got != want {
		t.Fatalf("state = %s, want %s", got, want)
	}
}

func TestBreaker_OpensAfterFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		calls(b, 4, Failure)
		once(b, Success)
		calls(b, 4, Failure)
		wantState(t, b, Closed)
		once(b, Failure)
		wantState(t, b, Open)
		if got := calls(b, 10, Failure); got != 0 {
			t.Errorf("an open breaker allowed %d calls, want 0", got)
		}
		if got, want := b.RetryAfter(time.Now()), time.Minute; got != want {
			t.Errorf("RetryAfter = %s, want %s", got, want)
		}
	})
}

func TestBreaker_ClosesAfterOneGoodProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		calls(b, 5, Failure)
		time.Sleep(time.Minute - 1)
		if once(b, Success) {
			t.Error("a call was allowed before the open period had passed")
		}
		time.Sleep(1)
		if !b.Ready(time.Now()) {
			t.Error("no probe is ready after the open period")
		}
		p, change, ok := b.Acquire(time.Now())
		if !ok || !p.Probe() || change != (Transition{Open, HalfOpen, ReasonElapsed}) {
			t.Fatalf("Acquire = %+v, %+v, %t, want a probe", p, change, ok)
		}
		if once(b, Success) || b.Ready(time.Now()) {
			t.Error("a second call was allowed beside the only probe")
		}
		change = b.Settle(p, Success, 0, time.Now())
		if change != (Transition{HalfOpen, Closed, ReasonProbe}) {
			t.Errorf("Settle = %+v, want closed by the probe", change)
		}
		if got := calls(b, 10, Success); got != 10 {
			t.Errorf("a closed breaker allowed %d of 10 calls", got)
		}
	})
}

func TestBreaker_ReopensAfterOneBadProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rule := fiveFailures
		rule.Probes = 3
		b := NewBreaker(rule, time.Now())
		calls(b, 5, Failure)
		for period := range 4 {
			time.Sleep(time.Minute)
			if got := calls(b, 100, Failure); got != 1 {
				t.Errorf("period %d: a failing upstream was asked %d times, want once", period, got)
			}
			wantState(t, b, Open)
		}
		time.Sleep(time.Minute)
		if got := calls(b, 2, Success); got != 2 {
			t.Fatalf("%d of 2 probes allowed", got)
		}
		wantState(t, b, HalfOpen)
		once(b, Success)
		wantState(t, b, Closed)
	})
}

// failsafe-go counts whatever is recorded while half-open as a probe's outcome,
// and hands out a permit more for it.
func TestBreaker_LateAnswersAreNoProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		late, _, _ := b.Acquire(time.Now())
		alsoLate, _, _ := b.Acquire(time.Now())
		calls(b, 5, Failure)
		time.Sleep(time.Minute)
		probe, _, ok := b.Acquire(time.Now())
		if !ok {
			t.Fatal("no probe allowed")
		}
		b.Settle(late, Success, 0, time.Now())
		wantState(t, b, HalfOpen)
		b.Settle(alsoLate, Failure, 0, time.Now())
		wantState(t, b, HalfOpen)
		if b.Ready(time.Now()) {
			t.Error("a late answer made place for a second probe")
		}
		b.Settle(probe, Success, 0, time.Now())
		wantState(t, b, Closed)
	})
}

// failsafe-go cannot take a permit back without an outcome.
func TestBreaker_CancelledProbeMakesPlaceForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		calls(b, 5, Failure)
		time.Sleep(time.Minute)
		for range 10 {
			if !once(b, Neither) {
				t.Fatal("a cancelled probe blocks the next one")
			}
		}
		wantState(t, b, HalfOpen)
		once(b, Success)
		wantState(t, b, Closed)
	})
}

func TestBreaker_LostProbeIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		calls(b, 5, Failure)
		time.Sleep(time.Minute)
		lost, _, _ := b.Acquire(time.Now())
		time.Sleep(time.Minute - 1)
		if once(b, Success) {
			t.Fatal("a second probe was allowed beside a live one")
		}
		time.Sleep(1)
		if !once(b, Success) {
			t.Fatal("a lost probe blocks the breaker for ever")
		}
		wantState(t, b, Closed)
		b.Settle(lost, Failure, 0, time.Now())
		wantState(t, b, Closed)
		if f := b.Facts(time.Now()); f.Failures != 0 {
			t.Errorf("the lost probe's answer counted: %+v", f)
		}
	})
}

func TestBreaker_CancelledCallsCountForNothing(t *testing.T) {
	b := NewBreaker(fiveFailures, time.Now())
	calls(b, 4, Failure)
	calls(b, 100, Neither)
	once(b, Failure)
	wantState(t, b, Open)
}

func TestBreaker_OpensByErrorRate(t *testing.T) {
	rule := Rule{ErrorRate: 0.5, Min: 20, Window: 10 * time.Second, Open: 15 * time.Second, Probes: 3}
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(rule, time.Now())
		calls(b, 19, Failure)
		wantState(t, b, Closed) // too few calls
		time.Sleep(11 * time.Second)
		calls(b, 10, Success)
		calls(b, 9, Failure)
		wantState(t, b, Closed) // the window has moved on; too few again
		once(b, Failure)
		wantState(t, b, Open)
		if f := b.Facts(time.Now()); f.Reason != ReasonErrorRate {
			t.Errorf("reason = %q, want %q", f.Reason, ReasonErrorRate)
		}
	})
}

func TestBreaker_OpensBySlowCalls(t *testing.T) {
	rule := Rule{SlowRate: 0.5, SlowOver: 2 * time.Second, Min: 10, Window: 10 * time.Second, Open: 15 * time.Second, Probes: 1}
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(rule, time.Now())
		for range 5 {
			p, _, _ := b.Acquire(time.Now())
			b.Settle(p, Success, 2*time.Second-1, time.Now())
		}
		for i := range 5 {
			wantState(t, b, Closed)
			p, _, _ := b.Acquire(time.Now())
			b.Settle(p, Success, 2*time.Second, time.Now())
			_ = i
		}
		wantState(t, b, Open)
		time.Sleep(15 * time.Second)
		p, _, _ := b.Acquire(time.Now())
		b.Settle(p, Success, 3*time.Second, time.Now())
		wantState(t, b, Open) // a slow probe does not close it
		time.Sleep(15 * time.Second)
		p, _, _ = b.Acquire(time.Now())
		b.Settle(p, Success, time.Second, time.Now())
		wantState(t, b, Closed)
	})
}

func TestBreaker_ForcedStatesHoldUntilReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		b.Force(Open, time.Now())
		time.Sleep(24 * time.Hour)
		if once(b, Success) {
			t.Error("a breaker that is forced open let a call through")
		}
		b.Force(Closed, time.Now())
		if got := calls(b, 100, Failure); got != 100 {
			t.Errorf("a breaker that is forced closed allowed %d of 100 calls", got)
		}
		b.Reset(time.Now())
		calls(b, 5, Failure)
		wantState(t, b, Open)
		b.Reset(time.Now())
		wantState(t, b, Closed)
	})
}

func TestBreaker_AdoptKeepsTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(fiveFailures, time.Now())
		before, _, _ := b.Acquire(time.Now())
		calls(b, 5, Failure)
		longer := fiveFailures
		longer.Open = 2 * time.Minute
		b.Adopt(longer)
		time.Sleep(time.Minute)
		if once(b, Success) {
			t.Error("the open period did not follow the new rule")
		}
		time.Sleep(time.Minute)
		b.Settle(before, Failure, 0, time.Now())
		if !once(b, Success) {
			t.Error("the breaker forgot that its time was up")
		}
	})
}

func BenchmarkBreaker_AcquireSettle(b *testing.B) {
	for name, rule := range map[string]Rule{
		"failures":   fiveFailures,
		"error_rate": {ErrorRate: 0.5, Min: 20, Window: 10 * time.Second, Open: time.Second, Probes: 1},
	} {
		b.Run("rule="+name, func(b *testing.B) {
			br := NewBreaker(rule, time.Now())
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				p, _, _ := br.Acquire(now)
				br.Settle(p, Success, 0, now)
			}
		})
	}
}
