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

// add bans a key for what it did. A full list gives the place of a ban that has
// ended, if there is one among a few; else it takes no more, and the key remains
// limited. Who floods the gateway brings this about, so it must not look at all.
func (b *bans) add(k Key, until, now int64, room int) (added bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.until[k]; !there && len(b.until) >= room && !b.makeRoom(now) {
		return false
	}
	b.put(k, max(b.until[k], until)) // an operator's may be the longer one
	return true
}

// order bans a key because an operator says so, however full the list is.
func (b *bans) order(k Key, until int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(k, until)
}

func (b *bans) put(k Key, until int64) {
	b.until[k] = until
	b.count.Store(int64(len(b.until)))
}

// makeRoom forgets what has ended of a few bans; sweep finds the others.
func (b *bans) makeRoom(now int64) (made bool) {
	seen := 0
	for k, until := range b.until { // from anywhere on
		if until <= now {
			delete(b.until, k)
			made = true
		}
		if seen++; seen >= evictionSample {
			break
		}
	}
	return made
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
	for k, until := range b.until {
		if until <= now {
			delete(b.until, k)
		}
	}
	b.count.Store(int64(len(b.until)))
	b.mu.Unlock()
	b.denials.table.sweep(now)
}
