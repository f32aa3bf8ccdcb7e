package cache

import (
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
)

// storePool keeps the contents of caches over reloads, by name.
var storePool = caddy.NewUsagePool()

// Store is a cache's contents and what is under way: it outlives configs. It is
// safe for concurrent use.
type Store struct {
	memory  *memory
	purges  *Purges
	flights flights

	// searches tells whether any response ever had a No-Vary-Search.
	searches atomic.Bool
}

func openStore(name string, maxBytes uint64) (*Store, error) {
	v, _, err := storePool.LoadOrNew(name, func() (caddy.Destructor, error) {
		return newStore(maxBytes), nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Store), nil
}

func newStore(maxBytes uint64) *Store {
	return &Store{memory: newMemory(maxBytes), purges: newPurges()}
}

// Destruct ends the cache's maintenance. The UsagePool calls it.
func (s *Store) Destruct() error {
	s.memory.otter.StopAllGoroutines()
	return nil
}
