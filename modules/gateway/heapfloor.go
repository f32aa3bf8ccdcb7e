package gateway

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// heapFloor is the size in bytes below which the heap is not collected: most
// gateways keep little alive between requests, and would collect their garbage
// dozens of times a second to save memory that nobody misses.
// docs/decisions/004-a-floor-for-the-heap.md has the figures.
const heapFloor = 64 << 20

// standardPercent is the runtime's own GOGC; maxPercent bounds ours, so that a
// sudden growth of what is alive is noticed in time.
const (
	standardPercent = 100
	maxPercent      = 800
)

// holdHeapFloor has the garbage collector leave the heap alone below heapFloor,
// from now on to the end of the process. Above it nothing changes. Who sets GOGC
// decides for themselves; a memory limit (GOMEMLIMIT, or that of the container,
// which Caddy reads) goes before the floor.
var holdHeapFloor = sync.OnceFunc(func() {
	if os.Getenv("GOGC") != "" {
		return
	}
	watchHeap(standardPercent)
})

// cycle dies with each collection, and its finalizer makes the next one.
type cycle struct {
	percent int
	_       [2]uint64 // the runtime packs small objects together: they die together
}

func watchHeap(percent int) {
	runtime.SetFinalizer(&cycle{percent: percent}, func(c *cycle) {
		next := percentFor(liveHeap())
		// setting it stops all goroutines for a moment: only if it matters
		if next < c.percent || next > c.percent+c.percent/8 {
			debug.SetGCPercent(next)
			c.percent = next
		}
		watchHeap(c.percent)
	})
}

// percentFor is the growth over what is alive, in percent, after which to
// collect.
func percentFor(live uint64) int {
	if live == 0 {
		return standardPercent
	}
	return int(min(max(heapFloor*100/live, 100+standardPercent)-100, maxPercent))
}

// liveHeap is how many bytes the last collection found alive.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
