package resilience

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// errFull is returned by Bulkhead.Enter when the queue has no place left.
var errFull = errors.New("the bulkhead and its queue are full")

// errWaited is returned by Bulkhead.Enter after waiting for a place in vain.
var errWaited = errors.New("no place in the bulkhead became free in time")

// Priority is a class of requests. The lower the number, the sooner one gets a
// place. Its zero value is the highest.
type Priority uint8

// The priority classes.
const (
	High Priority = iota
	Normal
	Low
	priorities
)

func (p Priority) String() string { return [...]string{"high", "normal", "low"}[p] }

// Bulkhead bounds how many requests are under way at once, and how many wait.
// Waiting requests get places by priority, and by order of arrival within one;
// a full queue gives up the last to come of the lowest class for one of a
// higher class. Safe for concurrent use.
type Bulkhead struct {
	mu      sync.Mutex
	places  int
	taken   int
	queues  [priorities]list.List // of *waiter
	waiting int
	bound   int
	wait    time.Duration
}

// waiter is a queued request; its channel is closed when it gets a place or
// has to give up its turn.
type waiter struct {
	called  chan struct{}
	evicted bool
}

// NewBulkhead returns an empty bulkhead.
func NewBulkhead(places, queue int, wait time.Duration) *Bulkhead {
	return &Bulkhead{places: places, bound: queue, wait: wait}
}

// Enter takes a place, waiting for one if it must and may. Every Enter without
// an error is followed by one Leave.
func (b *Bulkhead) Enter(ctx context.Context, p Priority) error {
	b.mu.Lock()
	if b.taken < b.places {
		b.taken++
		b.mu.Unlock()
		return nil
	}
	if b.waiting >= b.bound && !b.evict(p) {
		b.mu.Unlock()
		return errFull
	}
	w := &waiter{called: make(chan struct{})}
	turn := b.queues[p].PushBack(w)
	b.waiting++
	b.mu.Unlock()

	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case <-w.called:
		return w.result()
	case <-timer.C:
		return b.giveUp(p, turn, errWaited)
	case <-ctx.Done():
		return b.giveUp(p, turn, context.Cause(ctx))
	}
}

func (w *waiter) result() error {
	if w.evicted {
		return errFull
	}
	return nil
}

// giveUp leaves the queue, unless the waiter was called at the same moment.
func (b *Bulkhead) giveUp(p Priority, turn *list.Element, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := turn.Value.(*waiter)
	select {
	case <-w.called:
		return w.result()
	default:
		b.queues[p].Remove(turn)
		b.waiting--
		return err
	}
}

// evict makes room in the queue for a request of class p by sending away the
// last to come of a lower class.
func (b *Bulkhead) evict(p Priority) bool {
	for lower := priorities - 1; lower > p; lower-- {
		if last := b.queues[lower].Back(); last != nil {
			w := b.queues[lower].Remove(last).(*waiter)
			b.waiting--
			w.evicted = true
			close(w.called)
			return true
		}
	}
	return false
}

// Leave gives a place back.
func (b *Bulkhead) Leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken--
	b.admit()
}

// Resize changes the number of places. Requests that are under way keep theirs.
func (b *Bulkhead) Resize(places int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places = places
	b.admit()
}

// admit gives free places to those who wait.
func (b *Bulkhead) admit() {
	for p := High; p < priorities && b.taken < b.places; {
		first := b.queues[p].Front()
		if first == nil {
			p++
			continue
		}
		w := b.queues[p].Remove(first).(*waiter)
		b.waiting--
		b.taken++
		close(w.called)
	}
}

// Full says whether a request of class p could neither enter nor wait.
func (b *Bulkhead) Full(p Priority) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken < b.places || b.waiting < b.bound {
		return false
	}
	for lower := p + 1; lower < priorities; lower++ {
		if b.queues[lower].Len() > 0 {
			return false
		}
	}
	return true
}

// Depth returns how many requests are under way and how many wait.
func (b *Bulkhead) Depth() (taken, waiting, places int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken, b.waiting, b.places
}
