package test

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// shot is one request of a steady load, as a client saw it.
type shot struct {
	at     time.Time // when it was sent
	took   time.Duration
	status int   // zero if no complete answer came
	err    error // why
}

// steadyLoad sends GETs at a fixed rate, whatever the answers take: a client
// that waits for a slow answer would spare the gateway what comes behind it.
type steadyLoad struct {
	client *leanClient
	stop   chan struct{}
	done   chan struct{}

	mu    sync.Mutex
	shots []shot
}

const (
	// loadStep is how often a steady load looks at the clock.
	loadStep = time.Millisecond

	// loadRise is how long it takes to reach its rate, since all connections
	// are yet to be made.
	loadRise = time.Second

	// loadDebt is what a steady load catches up with at most: a machine that
	// stood still is not to be punished for that by a burst.
	loadDebt = 20 * time.Millisecond
)

func newLoad(t testing.TB, url string) *steadyLoad {
	t.Helper()
	l := &steadyLoad{stop: make(chan struct{}), done: make(chan struct{}), client: newLeanClient(t, url)}
	t.Cleanup(l.client.close)
	return l
}

// startLoad sends requests at a fixed rate.
func startLoad(t testing.TB, url string, perSecond int) *steadyLoad {
	t.Helper()
	l := newLoad(t, url)
	go l.run(float64(perSecond))
	return l
}

// startFullLoad sends as many requests as are answered, some at a time.
func startFullLoad(t testing.TB, url string, atOnce int) *steadyLoad {
	t.Helper()
	l := newLoad(t, url)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.shoot()
				}
			}
		})
	}
	go func() { defer close(l.done); all.Wait() }()
	return l
}

func (l *steadyLoad) run(perSecond float64) {
	defer close(l.done)
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(loadStep)
	defer tick.Stop()
	begun := time.Now()
	due, last := 0.0, begun
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		now := time.Now()
		risen := min(1, now.Sub(begun).Seconds()/loadRise.Seconds())
		due += perSecond * risen * min(loadDebt, now.Sub(last)).Seconds()
		for last = now; due >= 1; due-- {
			all.Go(l.shoot)
		}
	}
}

func (l *steadyLoad) shoot() {
	s := shot{at: time.Now()}
	s.status, s.err = l.client.get()
	s.took = time.Since(s.at)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shots = append(l.shots, s)
}

// end stops sending, waits for the answers, and returns all that was seen.
func (l *steadyLoad) end() salvo {
	close(l.stop)
	<-l.done
	return l.shots
}

// salvo is what a steady load has seen.
type salvo []shot

// bad returns those that were not answered with one of the statuses.
func (s salvo) bad(allowed ...int) (bad salvo) {
	for _, shot := range s {
		if !slices.Contains(allowed, shot.status) {
			bad = append(bad, shot)
		}
	}
	return bad
}

// since returns those that were sent at a time or later.
func (s salvo) since(at time.Time) (later salvo) {
	for _, shot := range s {
		if !shot.at.Before(at) {
			later = append(later, shot)
		}
	}
	return later
}

// slower returns those that took longer.
func (s salvo) slower(than time.Duration) (slow salvo) {
	for _, shot := range s {
		if shot.took > than {
			slow = append(slow, shot)
		}
	}
	return slow
}

// quantile is the time that the share q of the answers did not exceed.
func (s salvo) quantile(q float64) time.Duration {
	took := make([]time.Duration, len(s))
	for i, shot := range s {
		took[i] = shot.took
	}
	return quantile(took, q)
}

// perSecond is the rate at which they were sent.
func (s salvo) perSecond() float64 {
	if len(s) < 2 {
		return 0
	}
	first, last := s[0].at, s[0].at
	for _, shot := range s {
		if shot.at.Before(first) {
			first = shot.at
		}
		if shot.at.After(last) {
			last = shot.at
		}
	}
	return float64(len(s)) / last.Sub(first).Seconds()
}

// report shows the first of those that went wrong.
func (s salvo) report(t testing.TB, what string) {
	t.Helper()
	for _, shot := range s[:min(3, len(s))] {
		t.Errorf("%s: status %d after %s: %v", what, shot.status, shot.took, shot.err)
	}
}
