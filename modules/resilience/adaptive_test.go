package resilience

import (
	"testing"
	"time"
)

// server simulates an upstream of some workers, each busy for a while with one
// call: more calls at once only wait.
type server struct {
	workers int
	work    time.Duration
}

func (s server) latency(atOnce int) time.Duration {
	return s.work * time.Duration(max(1, (atOnce+s.workers-1)/s.workers))
}

// saturate drives a limit with as many calls as it lets through.
func saturate(a *Adaptive, s server, steps int, now *time.Time) (limits []int) {
	for range steps {
		n := a.Limit()
		for range max(n, adaptMin) {
			a.Done(s.latency(n), n, false, *now)
		}
		*now = now.Add(adaptEvery)
		limits = append(limits, a.Limit())
	}
	return limits
}

func TestAdaptive_FindsWhatTheUpstreamCanTake(t *testing.T) {
	a := NewAdaptive(5, 500)
	now := time.Unix(1000, 0)
	saturate(a, server{workers: 1000, work: 10 * time.Millisecond}, 300, &now)
	if got := a.Limit(); got < 300 {
		t.Errorf("an upstream that takes everything is limited to %d", got)
	}
	limits := saturate(a, server{workers: 40, work: 10 * time.Millisecond}, 100, &now)
	if got := limits[40]; got > 200 {
		t.Errorf("an upstream of 40 workers still gets %d calls at once", got)
	}
	if got := limits[99]; got < 40 {
		t.Errorf("an upstream of 40 workers gets only %d calls at once", got)
	}
	saturate(a, server{workers: 40, work: 10 * time.Millisecond}, 36_000, &now)
	if got := a.Limit(); got > 200 {
		t.Errorf("after an hour under pressure an upstream of 40 workers gets %d calls at once", got)
	}
}

func TestAdaptive_FollowsAnUpstreamThatIsSlowerForGood(t *testing.T) {
	a := NewAdaptive(5, 500)
	now := time.Unix(1000, 0)
	saturate(a, server{workers: 100, work: 10 * time.Millisecond}, 100, &now)
	limits := saturate(a, server{workers: 100, work: 50 * time.Millisecond}, 600, &now)
	if got := limits[599]; got < 80 {
		t.Errorf("a minute after it became slower, an upstream of 100 workers gets %d calls at once", got)
	}
}

func TestAdaptive_ShrinksOnOverloadToItsFloor(t *testing.T) {
	a := NewAdaptive(5, 500)
	now := time.Unix(1000, 0)
	for range 100 {
		for range adaptMin {
			a.Done(time.Millisecond, 20, true, now)
		}
		now = now.Add(adaptEvery)
	}
	if got := a.Limit(); got != 5 {
		t.Errorf("under overload the limit is %d, want its floor of 5", got)
	}
}

func TestAdaptive_DoesNotGrowUnused(t *testing.T) {
	a := NewAdaptive(5, 500)
	now := time.Unix(1000, 0)
	before := a.Limit()
	for range 1000 {
		a.Done(time.Millisecond, 1, false, now)
		now = now.Add(adaptEvery)
	}
	if got := a.Limit(); got != before {
		t.Errorf("one call at a time moved the limit from %d to %d", before, got)
	}
}
