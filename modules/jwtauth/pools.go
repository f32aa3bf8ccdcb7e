package jwtauth

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// What outlives a reload: key sets with their refreshers, and verified tokens.
// (Revocations have a pool of their own.) Each is found again by what it depends
// on, so that a config that changes nothing about it goes on with it.
var (
	keySetPool = caddy.NewUsagePool() // keySetID to *keySet
	cachePool  = caddy.NewUsagePool() // string to *pooledCache
)

// keySetID is all that decides what a key set holds and when it is fetched.
type keySetID struct {
	kind, location, issuer string
	algorithms             string
	roots                  string // path of tls_ca
	cadence                cadence
}

// from reports whether two key sets come from one place and read it alike.
func (id keySetID) from(other keySetID) bool {
	id.cadence = other.cadence
	return id == other
}

// logger is the process's: key sets outlive the config that opened them.
func logger() *zap.Logger { return caddy.Log().Named("fairway.jwt_auth") }

// openKeySet takes a key set out of the pool or makes it. A set that only
// differs in its cadence lends its keys, so that a reload is not an outage.
func openKeySet(id keySetID, src source, allowed allowlist) (*keySet, error) {
	seed := findKeys(id)
	v, _, err := keySetPool.LoadOrNew(id, func() (caddy.Destructor, error) {
		label := src.String()
		s := &keySet{refresher: &refresher{
			source: src, label: label, allowed: allowed, cadence: id.cadence,
			logger: logger(), metrics: newFetchMetrics(label),
		}}
		s.refresher.set = s
		s.inherit(seed)
		s.refresher.start()
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*keySet), nil
}

func findKeys(id keySetID) (found *keySet) {
	keySetPool.Range(func(k, v any) bool {
		if id.from(k.(keySetID)) {
			found = v.(*keySet)
		}
		return found == nil
	})
	return found
}

// inherit takes over keys, and how old they are.
func (s *keySet) inherit(from *keySet) {
	if from == nil || from.current.Load() == nil {
		return
	}
	s.current.Store(from.current.Load())
	s.refresher.success = from.refresher.lastSuccess()
	if s.refresher.cadence.maxStale > 0 {
		s.until.Store(int64(instantOf(s.refresher.success.Add(s.refresher.cadence.maxStale))))
	}
}

// Destruct stops the refresher. The UsagePool calls it.
func (s *keySet) Destruct() error {
	s.refresher.stop()
	return nil
}

func (s *keySet) count() int {
	if snap := s.current.Load(); snap != nil {
		return len(snap.keys)
	}
	return 0
}

func (r *refresher) lastSuccess() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.success
}

// sweepInterval is how often expired tokens are removed from memory.
const sweepInterval = time.Minute

// pooledCache is a token cache with the goroutine that sweeps it.
type pooledCache struct {
	*tokenCache
	stop chan struct{}
	done sync.WaitGroup
}

// openCache takes a cache out of the pool or makes it.
func openCache(id string, limit int64) (*pooledCache, error) {
	v, _, err := cachePool.LoadOrNew(id, func() (caddy.Destructor, error) {
		c := &pooledCache{tokenCache: newTokenCache(limit), stop: make(chan struct{})}
		c.done.Go(c.keepSwept)
		return c, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*pooledCache), nil
}

func (c *pooledCache) keepSwept() {
	ticker := time.NewTicker(sweepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case now := <-ticker.C:
			c.sweep(instantOf(now.Add(-maxLeeway)))
		}
	}
}

// Destruct stops the sweeping. The UsagePool calls it.
func (c *pooledCache) Destruct() error {
	close(c.stop)
	c.done.Wait()
	return nil
}

// cacheID hashes all that decides whether a token's signature and constant
// claims are good. What is checked on every use is not part of it.
func cacheID(c *Config, issuers []*issuer) (string, error) {
	var rules []any
	for i, ic := range c.Issuers {
		rules = append(rules, []any{ic.Issuer, ic.Algorithms, ic.Audience, ic.Type, ic.Discovery, ic.JWKSURL, ic.JWKSFile, ic.TLSCA})
		if ic.Key != "" {
			rules = append(rules, issuers[i].keys.current.Load().keys[0].print)
		}
	}
	b, err := json.Marshal([]any{rules, c.UserClaims, c.CacheSize})
	if err != nil {
		return "", fmt.Errorf("naming the cache: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func cacheUsage() (entries int, bytes int64) {
	cachePool.Range(func(_, v any) bool {
		n, size := v.(*pooledCache).usage()
		entries, bytes = entries+n, bytes+size
		return true
	})
	return entries, bytes
}
