package jwtauth

import (
	"crypto/sha256"
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

// cachedToken is a token whose signature was verified. Everything that may
// change since then, time, revocation and the key set, is checked on each use.
type cachedToken struct {
	caller     *Caller
	issuer     int           // index into the verifier's issuers
	key        *key          // that verified it
	generation atomic.Uint64 // of the key set when the key was last seen in it
	used       atomic.Bool   // since the clock hand last passed
	size       int
}

// entryOverhead is the memory in bytes that an entry costs beside its caller:
// the entry, its share of the map at the worst moment of growth, and its place
// on the clock.
const entryOverhead = 320

// cacheShards spreads the lock. It is a power of two.
const cacheShards = 32

// tokenCache keeps verified tokens within a bound in bytes. When it is full, the
// entries that were not used for the longest time go first, approximately: each
// shard is a CLOCK. It is safe for concurrent use.
type tokenCache struct {
	limit  int64 // of one shard
	shards [cacheShards]cacheShard
}

type cacheShard struct {
	mu      sync.RWMutex
	entries map[tokenKey]*cachedToken
	ring    []tokenKey // the clock face, in order of arrival but for reuse
	hand    int
	bytes   int64
	_       [64]byte // keeps neighbours off the same cache line
}

// newTokenCache returns nil for a limit of zero or less: a nil cache is empty
// and takes nothing.
func newTokenCache(limit int64) *tokenCache {
	if limit <= 0 {
		return nil
	}
	c := &tokenCache{limit: limit / cacheShards}
	for i := range c.shards {
		c.shards[i].entries = map[tokenKey]*cachedToken{}
	}
	return c
}

func (c *tokenCache) shard(k *tokenKey) *cacheShard {
	return &c.shards[k[0]&(cacheShards-1)]
}

// get returns the entry of a token, or nil.
func (c *tokenCache) get(k *tokenKey) *cachedToken {
	if c == nil {
		return nil
	}
	s := c.shard(k)
	s.mu.RLock()
	e := s.entries[*k]
	s.mu.RUnlock()
	if e != nil && !e.used.Load() {
		e.used.Store(true)
	}
	return e
}

// put keeps a verified token, making room for it if need be.
func (c *tokenCache) put(k tokenKey, e *cachedToken) {
	if c == nil {
		return
	}
	e.size = entryOverhead + e.caller.size()
	if int64(e.size) > c.limit {
		return
	}
	s := c.shard(&k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.entries[k]; old != nil { // verified twice at once
		s.bytes += int64(e.size - old.size)
		s.entries[k] = e
		return
	}
	for s.bytes+int64(e.size) > c.limit {
		s.evict()
	}
	s.entries[k] = e
	s.ring = append(s.ring, k)
	s.bytes += int64(e.size)
}

// evict removes one entry: the first under the hand that was not used since the
// hand passed. The caller holds the lock; the shard is not empty.
func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		k := s.ring[s.hand]
		if e := s.entries[k]; e != nil && e.used.Swap(false) {
			s.hand++
			continue
		}
		s.remove(k)
		return
	}
}

// remove takes the entry under the hand out. The last of the ring takes its
// place.
func (s *cacheShard) remove(k tokenKey) {
	if e := s.entries[k]; e != nil {
		s.bytes -= int64(e.size)
		delete(s.entries, k)
	}
	last := len(s.ring) - 1
	s.ring[s.hand] = s.ring[last]
	s.ring = s.ring[:last]
}

// drop forgets a token that is not valid any more. Its place on the clock is
// cleared when the hand comes by.
func (c *tokenCache) drop(k *tokenKey) {
	if c == nil {
		return
	}
	s := c.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[*k]; e != nil {
		e.used.Store(false)
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
	kept := s.ring[:0]
	for _, k := range s.ring {
		if e := s.entries[k]; e.caller.expires > now {
			kept = append(kept, k)
			continue
		}
		s.bytes -= int64(s.entries[k].size)
		delete(s.entries, k)
	}
	s.ring, s.hand = kept, 0
}

// usage returns the number of entries and their size in bytes.
func (c *tokenCache) usage() (entries int, bytes int64) {
	if c == nil {
		return 0, 0
	}
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		entries, bytes = entries+len(s.entries), bytes+s.bytes
		s.mu.RUnlock()
	}
	return entries, bytes
}
