package test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"
)

// traffic is steady load by a few workers. It counts answers by status and
// keeps the first failures.
type traffic struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	sent     []int // by worker
	statuses map[int]int
	failures []string
	failed   int
}

// workPause keeps a worker from taking the whole machine: it sends at most 200
// requests in a second.
const workPause = 5 * time.Millisecond

// startTraffic has each worker send next(worker, n) over and over, and hand every
// answer to check, which returns what is wrong with it.
func startTraffic(t testing.TB, workers int, next func(worker, n int) request, check func(answer) error) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{stop: cancel, sent: make([]int, workers), statuses: make(map[int]int)}
	for w := range workers {
		tr.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				r := next(w, n)
				a, err := r.try()
				if err == nil {
					err = check(a)
				}
				tr.count(w, r, a, err)
				time.Sleep(workPause)
			}
		})
	}
	t.Cleanup(func() { cancel(); tr.done.Wait() })
	return tr
}

func (tr *traffic) count(worker int, r request, a answer, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.sent[worker]++
	tr.statuses[a.status]++
	if err == nil {
		return
	}
	tr.failed++
	if len(tr.failures) < 5 {
		tr.failures = append(tr.failures, fmt.Sprintf("%s %s: %v", time.Now().Format(time.TimeOnly), r, err))
	}
}

// answered is how many requests were answered so far, well or badly.
func (tr *traffic) answered() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	total := 0
	for _, n := range tr.sent {
		total += n
	}
	return total
}

// sentBy is how many requests one worker has sent.
func (tr *traffic) sentBy(worker int) int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.sent[worker]
}

// flow waits until n more requests were answered, so that whatever happens
// before and after it happens in the middle of traffic.
func (tr *traffic) flow(t testing.TB, n int) {
	t.Helper()
	target := tr.answered() + n
	eventually(t, fmt.Sprintf("%d more requests", n), func() error {
		if got := tr.answered(); got < target {
			return fmt.Errorf("only %d of them", got-target+n)
		}
		return nil
	})
}

// end stops the workers and fails the test if any request failed.
func (tr *traffic) end(t testing.TB) {
	t.Helper()
	tr.stop()
	tr.done.Wait()
	for _, f := range tr.failures {
		t.Error(f)
	}
	if tr.failed > 0 {
		t.Errorf("%d of %d requests failed", tr.failed, tr.answered())
	}
	for _, status := range slices.Sorted(maps.Keys(tr.statuses)) {
		t.Logf("%d requests answered with %d", tr.statuses[status], status)
	}
}

// wantStatus returns a check that allows these statuses.
func wantStatus(allowed ...int) func(answer) error {
	return func(a answer) error {
		if !slices.Contains(allowed, a.status) {
			return fmt.Errorf("want status %v; %s", allowed, a)
		}
		return nil
	}
}

// quantile is the time that the share q of the values does not exceed; 0 of none.
// It sorts them.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(len(values)-1, int(q*float64(len(values))))]
}
