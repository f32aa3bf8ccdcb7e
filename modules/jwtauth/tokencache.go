package jwtauth

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"unsafe"
)

// tokenKey is the SHA-256 of a token: the token itself is never kept.
type tokenKey [sha256.Size]byte

// keyOf hashes a token without copying it.
func keyOf(token string) tokenKey {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(token), len(token)))
}

// short is where the index looks for a token. Two tokens of one short key, which
// nobody makes by accident, take turns in the cache.
func (k *tokenKey) short() uint64 { return binary.LittleEndian.Uint64(k[8:]) }

// cachedToken is a token whose signature was verified. Everything that may
// change since then, time, revocation and the key set, is checked on each use.
type cachedToken struct {
	record     record
	signer     *key   // that verified it
	generation uint64 // of the key set when the key was last seen in it
}

// cacheShards spreads the lock. It is a power of two.
const cacheShards = 32

// tokenCache keeps verified tokens within a bound in bytes. When it is full, the
// entries that were not used for the longest time go first, approximately: each
// shard is a CLOCK, whose face are the slots. It is safe for concurrent use.
//
// It is laid out for the garbage collector, which looks at all that is kept in
// every cycle: the index holds no pointers, and an entry is one object without.
type tokenCache struct {
	limit  int64 // of one shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu    sync.RWMutex
	index map[uint64]uint32 // short key to slot
	slots []slot
	hand  int
	bytes int64
	_     [64]byte // keeps neighbours off the same cache line
}

type slot struct {
	cachedToken
	token tokenKey
	used  uint32 // atomically: 1 since the clock hand last passed
}

// slotCost is the memory in bytes that an entry costs beside its record: the
// slot, its share of the index, and of the room that both have to grow.
const slotCost = 136

func (e *cachedToken) size() int64 { return slotCost + int64(len(e.record)) + int64(len(e.record))/8 }

// newTokenCache returns nil for a limit of zero or less: a nil cache is empty
// and takes nothing.
func newTokenCache(limit int64) *tokenCache {
	if limit <= 0 {
		return nil
	}
	c := &tokenCache{limit: limit / cacheShards}
	for i := range c.shards {
		c.shards[i].index = map[uint64]uint32{}
	}
	return c
}

func (c *tokenCache) shard(k *tokenKey) *cacheShard {
	return &c.shards[k[0]&(cacheShards-1)]
}

// get returns the entry of a token.
func (c *tokenCache) get(k *tokenKey) (e cachedToken, found bool) {
	if c == nil {
		return cachedToken{}, false
	}
	s := c.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	at := s.find(k)
	if at < 0 {
		return cachedToken{}, false
	}
	if used := &s.slots[at].used; atomic.LoadUint32(used) == 0 {
		atomic.StoreUint32(used, 1)
	}
	return s.slots[at].cachedToken, true
}

// find returns the slot of a token, or -1. The caller holds the lock.
func (s *cacheShard) find(k *tokenKey) int {
	at, found := s.index[k.short()]
	if !found || s.slots[at].token != *k {
		return -1
	}
	return int(at)
}

// put keeps a verified token, making room for it if need be.
func (c *tokenCache) put(k *tokenKey, e cachedToken) {
	if c == nil || e.size() > c.limit {
		return
	}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, found := s.index[k.short()]; found { // verified twice at once
		s.remove(int(at))
	}
	for s.bytes+e.size() > c.limit {
		s.evict()
	}
	s.index[k.short()] = uint32(len(s.slots))
	s.grow()
	s.slots = append(s.slots, slot{cachedToken: e, token: *k})
	s.bytes += e.size()
}

// grow makes room for a slot, an eighth at a time: append alone would double what
// the slots take up.
func (s *cacheShard) grow() {
	if n := len(s.slots); n == cap(s.slots) {
		s.slots = append(make([]slot, 0, n+n/8+8), s.slots...)
	}
}

// evict removes one entry: the first under the hand that was not used since the
// hand passed. The caller holds the lock; the shard is not empty.
func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.slots) {
			s.hand = 0
		}
		if atomic.SwapUint32(&s.slots[s.hand].used, 0) == 0 {
			s.remove(s.hand)
			return
		}
		s.hand++
	}
}

// remove empties a slot. The last one moves there. The caller holds the lock.
func (s *cacheShard) remove(at int) {
	last := len(s.slots) - 1
	s.bytes -= s.slots[at].size()
	delete(s.index, s.slots[at].token.short())
	if at != last {
		s.slots[at] = s.slots[last]
		s.index[s.slots[at].token.short()] = uint32(at)
	}
	s.slots[last] = slot{}
	s.slots = s.slots[:last]
}

// renew notes that the key of a token was seen in a newer key set.
func (c *tokenCache) renew(k *tokenKey, generation uint64) {
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.find(k); at >= 0 {
		s.slots[at].generation = generation
	}
}

// yield has a token that is not valid any more go first. Until there is need for
// its place it makes the next refusal cheap.
func (c *tokenCache) yield(k *tokenKey) {
	if c == nil {
		return
	}
	s := c.shard(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if at := s.find(k); at >= 0 {
		atomic.StoreUint32(&s.slots[at].used, 0)
	}
}

// sweep removes what has expired, so that memory is not held by tokens that
// nobody will send again.
func (c *tokenCache) sweep(now instant) {
	if c == nil {
		return
	}
	for i := range c.shards {
		c.shards[i].sweep(now)
	}
}

func (s *cacheShard) sweep(now instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := len(s.slots) - 1; at >= 0; at-- {
		if s.slots[at].record.expires() <= now {
			s.remove(at)
		}
	}
}

// usage returns the number of entries and their size in bytes.
func (c *tokenCache) usage() (entries int, bytes int64) {
	if c == nil {
		return 0, 0
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries, bytes = entries+len(s.slots), bytes+s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}
