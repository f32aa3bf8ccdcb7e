package ratelimit

import (
	"sync"
	"sync/atomic"
)

// banSlots divides the time within which refusals add up to a ban.
const banSlots = 12

// bans holds the keys that are banned in this process, and counts the refusals
// that lead there. With Redis both are in Redis, and this serves outages. It may
// be used by many goroutines.
type bans struct {
	denials *memory

	mu    sync.RWMutex
	until map[Key]int64 // mono
	count atomic.Int64
}

func newBans() *bans {
	return &bans{denials: newMemory(banSlots, false), until: make(map[Key]int64)}
}

// left is how long the key is still banned, in µs.
func (b *bans) left(k Key, now int64) int64 {
	if b.count.Load() == 0 {
		return 0
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return max(b.until[k]-now, 0)
}

// denied counts a refusal and reports whether it brought a ban.
func (b *bans) denied(k Key, rule banRule, now int64, room int) bool {
	if rule.threshold == 0 {
		return false
	}
	p := policy{
		limit: rule.threshold - 1, window: rule.within, slots: banSlots,
		width: (rule.within + banSlots - 1) / banSlots, id: uint32(mix64(uint64(rule.within))),
	}
	set := policySet{policies: []policy{p}}
	a := ask{key: k, set: &set, cost: 1, bounds: bounds{keys: room}}
	if d := b.denials.take(&a, now); d.ok || d.full {
		return false
	}
	b.denials.reset(k, &set)
	return b.add(k, now+rule.length, now, room)
}

// add bans a key. A full list first forgets what has ended; a list full of
// bans in force takes no more, and the key remains limited.
func (b *bans) add(k Key, until, now int64, room int) (added bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.until) >= room {
		b.expire(now)
	}
	if len(b.until) >= room && b.until[k] == 0 {
		return false
	}
	b.until[k] = until
	b.count.Store(int64(len(b.until)))
	return true
}

// remove ends a ban and reports whether there was one.
func (b *bans) remove(k Key) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, there := b.until[k]
	delete(b.until, k)
	b.count.Store(int64(len(b.until)))
	return there
}

// sweep forgets bans and refusals that are over.
func (b *bans) sweep(now int64) {
	b.mu.Lock()
	b.expire(now)
	b.count.Store(int64(len(b.until)))
	b.mu.Unlock()
	b.denials.table.sweep(now)
}

func (b *bans) expire(now int64) {
	for k, until := range b.until {
		if until <= now {
			delete(b.until, k)
		}
	}
}
