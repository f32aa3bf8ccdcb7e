package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Phase is a time of steady arrivals.
type Phase struct {
	Name     string
	Duration time.Duration
	Rate     int // arrivals a second
}

var (
	fullPhases  = []Phase{{"warm up", time.Minute, 10}, {"sustained", 5 * time.Minute, 50}, {"spike", time.Minute, 100}}
	shortPhases = []Phase{{"warm up", time.Second, 10}, {"sustained", 3 * time.Second, 50}, {"spike", 2 * time.Second, 100}}
)

// shareCreated is the share of requests that create a user.
const shareCreated = 0.7

// kind is what a request does.
type kind string

const (
	create kind = "create"
	read   kind = "read"
)

// sent is what became of one request.
type sent struct {
	kind   kind
	status int  // 0 without an answer
	retry  bool // it has a Retry-After
	took   time.Duration
	err    error
}

// drive sends requests as they are due and returns what became of all. It does
// not wait for one to send the next.
func drive(ctx context.Context, p Phase, send func(context.Context, kind) sent) []sent {
	n := int(p.Duration.Seconds() * float64(p.Rate))
	all := make([]sent, n)
	every := time.Second / time.Duration(p.Rate)
	begun := time.Now()
	var wait sync.WaitGroup
	for i := range n {
		due := begun.Add(time.Duration(i) * every)
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			all = all[:i]
			break
		}
		k := read
		if rand.Float64() < shareCreated { //nolint:gosec // nothing is to be guessed here
			k = create
		}
		wait.Go(func() {
			s := send(ctx, k)
			s.kind, s.took = k, time.Since(due)
			all[i] = s
		})
	}
	wait.Wait()
	return all
}

// summary is what a phase comes to, for one kind of request.
type summary struct {
	n, good, busy, bad int // busy: 503 with Retry-After
	first              error
	p50, p95, p99, max time.Duration
}

// summarize counts as good what has the wanted status.
func summarize(all []sent, k kind, want int) summary {
	var s summary
	var took []time.Duration
	for _, a := range all {
		if a.kind != k {
			continue
		}
		s.n++
		switch {
		case a.err == nil && a.status == want:
			s.good++
			took = append(took, a.took)
		case a.err == nil && a.status == 503 && a.retry:
			s.busy++
		default:
			s.bad++
			if s.first == nil {
				s.first = a.failure()
			}
		}
	}
	slices.Sort(took)
	at := func(share float64) time.Duration {
		if len(took) == 0 {
			return 0
		}
		return took[min(len(took)-1, int(share*float64(len(took))))]
	}
	s.p50, s.p95, s.p99, s.max = at(.5), at(.95), at(.99), at(1)
	return s
}
