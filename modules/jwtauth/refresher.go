package jwtauth

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// cadence says when a key set is fetched. All fields are positive but maxStale.
type cadence struct {
	refresh    time.Duration // longest time between fetches
	minRefresh time.Duration // shortest time between fetches, whatever happens
	maxStale   time.Duration // how long keys outlive the last success; 0: for ever
	timeout    time.Duration // of one fetch
}

const (
	// firstBackoff and its doublings up to maxFirstBackoff are the pauses while
	// no key set was ever fetched.
	firstBackoff    = time.Second
	maxFirstBackoff = 30 * time.Second

	// patience is how long a request with an unknown key may wait for a fetch.
	patience = 2 * time.Second

	// maxWaiting bounds the requests that wait for one fetch. Beyond it,
	// requests with an unknown key are refused at once.
	maxWaiting = 512
)

// refresher fetches one key set in the background. No request ever fetches: a
// request with an unknown key can only ask for the next fetch to come as early
// as the minimum interval allows, so that a flood of bogus keys causes one fetch
// per interval.
type refresher struct {
	set     *keySet
	source  source
	label   string // of the source, in metrics
	allowed allowlist
	cadence cadence
	logger  *zap.Logger
	metrics *fetchMetrics

	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{}

	progress
	wanted  bool          // someone asked for an early fetch
	busy    bool          // a fetch is under way
	round   chan struct{} // closed when the next fetch has ended
	waiting int           // how many wait for round
}

// start runs the refresher until stop.
func (r *refresher) start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.done, r.wake, r.round = make(chan struct{}), make(chan struct{}, 1), make(chan struct{})
	r.next = time.Now()
	if !r.success.IsZero() { // keys were taken over from another refresher
		r.next = r.success.Add(r.cadence.minRefresh)
	}
	go r.run(ctx)
}

func (r *refresher) stop() {
	r.cancel()
	<-r.done
}

func (r *refresher) run(ctx context.Context) {
	defer close(r.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(max(0, time.Until(r.due())))
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			continue // due may have moved
		case <-timer.C:
		}
		r.fetch(ctx)
	}
}

// due is when the next fetch starts.
func (r *refresher) due() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wanted {
		return r.earliest()
	}
	return r.next
}

// earliest is the next fetch that the minimum interval allows. The caller holds
// the lock.
func (r *refresher) earliest() time.Time {
	if r.attempt.IsZero() || r.set.current.Load() == nil {
		return r.next // nothing yet: the backoff decides
	}
	if at := r.attempt.Add(r.cadence.minRefresh); at.Before(r.next) {
		return at
	}
	return r.next
}

// await asks for an early fetch. It returns a channel that is closed after the
// fetch, or nil if that will take too long or too many wait already.
func (r *refresher) await() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.wanted {
		r.wanted = true
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	if r.waiting >= maxWaiting || !r.busy && time.Until(r.earliest()) > patience/2 {
		return nil
	}
	r.waiting++
	return r.round
}

// fetch makes one attempt and plans the next.
func (r *refresher) fetch(ctx context.Context) {
	r.begin()
	fetchCtx, cancel := context.WithTimeout(ctx, r.cadence.timeout)
	document, err := r.source.fetch(fetchCtx)
	cancel()
	if ctx.Err() != nil {
		return
	}
	var problems []error
	switch {
	case err != nil:
	case document.unchanged:
		r.succeed()
		r.set.until.Store(int64(r.staleAfter()))
		problems = r.problems // only this goroutine writes it
	default:
		if problems, err = r.install(document.body); err != nil {
			r.source.forget()
		}
	}
	r.end(document.lifetime, problems, err)
}

func (r *refresher) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempt, r.wanted, r.busy = time.Now(), false, true
	r.fetches++
}

var errNoKeys = errors.New("the key set has no usable key; keeping the keys of the last good one")

// install replaces the keys. A set without a usable key never replaces one with.
func (r *refresher) install(body []byte) (problems []error, err error) {
	keys, problems, err := parseJWKS(body, r.allowed)
	if err != nil {
		return nil, err
	}
	if old := r.set.current.Load(); len(keys) == 0 && old != nil && len(old.keys) > 0 {
		return problems, errNoKeys
	}
	r.succeed()
	if r.set.replace(keys, r.staleAfter()) {
		r.logger.Info("key set changed", zap.String("source", r.source.String()),
			zap.Int("keys", len(keys)), zap.Errors("skipped", problems))
	}
	return problems, nil
}

// succeed notes the time of a success, before its keys are there to be used: a
// reload at that moment that takes them over must know how old they are.
func (r *refresher) succeed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.success = time.Now()
}

func (r *refresher) staleAfter() instant {
	if r.cadence.maxStale == 0 {
		return 0
	}
	return instantOf(time.Now().Add(r.cadence.maxStale))
}

// end notes the outcome, plans the next fetch and lets the waiting go on.
func (r *refresher) end(lifetime time.Duration, problems []error, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	recovered := err == nil && r.err != nil
	r.err, r.problems = err, problems
	if err == nil {
		r.failed = 0
		r.next = now.Add(jitter(r.interval(lifetime)))
		r.metrics.success.Inc()
	} else {
		r.failed++
		r.failures++
		r.next = now.Add(jitter(r.backoff()))
		r.metrics.failure.Inc()
	}
	r.report(err, recovered)
	close(r.round)
	r.round, r.waiting, r.busy = make(chan struct{}), 0, false
}

func (r *refresher) report(err error, recovered bool) {
	source := zap.String("source", r.source.String())
	switch {
	case err != nil && r.set.current.Load() == nil:
		r.logger.Warn("key set was never fetched; its tokens are answered 503", source, zap.Error(err), zap.Time("next", r.next))
	case err != nil:
		r.logger.Warn("fetching the key set failed; going on with the last good one", source, zap.Error(err), zap.Time("next", r.next))
	case recovered:
		r.logger.Info("key set fetched again", source)
	}
}

// interval is the time to the next fetch after a success: what the server says,
// within bounds. A negative lifetime means that it says nothing.
func (r *refresher) interval(lifetime time.Duration) time.Duration {
	if lifetime < 0 || lifetime > r.cadence.refresh {
		return r.cadence.refresh
	}
	return max(lifetime, r.cadence.minRefresh)
}

// backoff doubles with every failure in a row. The caller holds the lock.
func (r *refresher) backoff() time.Duration {
	base, limit := r.cadence.minRefresh, max(r.cadence.refresh, r.cadence.minRefresh)
	if r.set.current.Load() == nil {
		base, limit = min(firstBackoff, r.cadence.minRefresh), maxFirstBackoff
	}
	return gateway.Doubled(base, r.failed-1, limit)
}

// jitter adds up to a tenth, so that a fleet does not fetch in step.
func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Int64N(int64(d)/10+1))
}

// fill adds what the refresher knows to a state.
func (r *refresher) fill(st *keySetState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Source, st.Fetches, st.Failures = r.source.String(), r.fetches, r.failures
	next := r.next.UTC()
	st.NextRefresh = &next
	if !r.success.IsZero() {
		fetched := r.success.UTC()
		st.Fetched, st.AgeSeconds = &fetched, time.Since(r.success).Seconds()
	}
	if r.err != nil {
		st.LastError = r.err.Error()
	}
	for _, p := range r.problems {
		st.Problems = append(st.Problems, p.Error())
	}
}
