package health

import (
	"context"
	"sync"
	"time"
)

// outcome is what one run of a check found.
type outcome struct {
	healthy bool
	err     error // why not, for those who may see details
	latency time.Duration
	at      time.Time
}

// check asks one question, at most once per maxAge however many probes come:
// probes share a run in progress and reuse its outcome while it is fresh. It is
// safe for concurrent use. It knows neither HTTP nor Caddy.
type check struct {
	name    string
	needed  bool
	timeout time.Duration
	maxAge  time.Duration
	ask     func(ctx context.Context) error
	now     func() time.Time
	report  func(c *check, o outcome)

	mu      sync.Mutex
	last    outcome
	known   bool          // whether a run has been reported, and
	up      bool          // what it found
	running chan struct{} // closed when the run in progress has ended; nil if there is none
}

// result returns a fresh outcome, waiting for a run if there is none. It gives
// up with ctx, which is the probe's; the run goes on, under the context of base.
func (c *check) result(ctx, base context.Context) outcome {
	c.mu.Lock()
	if !c.last.at.IsZero() && c.now().Sub(c.last.at) < c.maxAge {
		defer c.mu.Unlock()
		return c.last
	}
	if c.running == nil {
		c.running = make(chan struct{})
		go c.run(base)
	}
	running := c.running
	c.mu.Unlock()

	select {
	case <-running:
	case <-ctx.Done():
		return outcome{err: ctx.Err(), at: c.now()}
	}
	return c.snapshot()
}

func (c *check) run(base context.Context) {
	ctx, cancel := context.WithTimeout(base, c.timeout)
	defer cancel()
	start := c.now()
	err := c.ask(ctx)
	end := c.now()
	o := outcome{healthy: err == nil, err: err, latency: end.Sub(start), at: end}

	c.mu.Lock()
	c.last = o
	close(c.running)
	c.running = nil
	c.mu.Unlock()
	c.report(c, o)
}

// changes remembers what was found and tells whether that is news: a change, or
// a first run that failed. was tells whether there was a run before.
func (c *check) changes(healthy bool) (changed, was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was = c.known
	changed = was && c.up != healthy || !was && !healthy
	c.known, c.up = true, healthy
	return changed, was
}

// snapshot returns what was found last, without asking.
func (c *check) snapshot() outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// results runs all checks side by side.
func results(ctx, base context.Context, checks []*check) []outcome {
	found := make([]outcome, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { found[i] = c.result(ctx, base) })
	}
	wg.Wait()
	return found
}
