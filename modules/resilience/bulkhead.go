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

// Bulkhead bounds how many requests are under way at once, and how many wait,
// first come first served. Safe for concurrent use.
type Bulkhead struct {
	mu     sync.Mutex
	places int
	taken  int
	queue  list.List // of *waiter
	bound  int
	wait   time.Duration
}

// waiter is a queued request; its channel is closed when it gets a place.
type waiter struct{ entered chan struct{} }

// NewBulkhead returns an empty bulkhead.
func NewBulkhead(places, queue int, wait time.Duration) *Bulkhead {
	return &Bulkhead{places: places, bound: queue, wait: wait}
}

// Enter takes a place, waiting for one if it must and may. Every Enter without
// an error is followed by one Leave.
func (b *Bulkhead) Enter(ctx context.Context) error {
	b.mu.Lock()
	if b.taken < b.places {
		b.taken++
		b.mu.Unlock()
		return nil
	}
	if b.queue.Len() >= b.bound {
		b.mu.Unlock()
		return errFull
	}
	w := &waiter{entered: make(chan struct{})}
	place := b.queue.PushBack(w)
	b.mu.Unlock()

	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case <-w.entered:
		return nil
	case <-timer.C:
		return b.giveUp(place, w, errWaited)
	case <-ctx.Done():
		return b.giveUp(place, w, context.Cause(ctx))
	}
}

// giveUp leaves the queue, unless a place has been given at the same moment.
func (b *Bulkhead) giveUp(place *list.Element, w *waiter, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-w.entered:
		return nil
	default:
		b.queue.Remove(place)
		return err
	}
}

// Leave gives a place back: to the one who has waited longest, if anybody has.
func (b *Bulkhead) Leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	first := b.queue.Front()
	if first == nil || b.taken > b.places {
		b.taken--
		return
	}
	b.queue.Remove(first)
	close(first.Value.(*waiter).entered)
}

// Depth returns how many requests are under way and how many wait.
func (b *Bulkhead) Depth() (taken, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.taken, b.queue.Len()
}
