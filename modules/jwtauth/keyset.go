package jwtauth

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// snapshot is one state of a key set. It is immutable.
type snapshot struct {
	keys       []*key
	generation uint64 // unique in this process
}

// generations counts snapshots.
var generations atomic.Uint64

func newSnapshot(keys []*key) *snapshot {
	return &snapshot{keys: keys, generation: generations.Add(1)}
}

// candidates are the keys a token may have been signed with. A kid picks the
// keys of that name; keys without a name are tried for every token, and a token
// without a kid may be of any key (RFC 7515, 4.1.4).
func (s *snapshot) candidates(h *tokenHeader, a *algorithm) []*key {
	var list []*key
	for _, k := range s.keys {
		if k.fits(a) && (!h.hasKID || k.kid == "" || k.kid == h.kid) {
			list = append(list, k)
		}
	}
	if len(list) > maxCandidates {
		return nil
	}
	return list
}

// namesOneOf reports whether the token says by its kid that one of these keys
// signed it.
func (h *tokenHeader) namesOneOf(keys []*key) bool {
	return h.hasKID && slices.ContainsFunc(keys, func(k *key) bool { return k.kid == h.kid })
}

// maxCandidates bounds the signature checks that one token can cause.
const maxCandidates = 8

// holds reports whether a key is there. Keys are the same if kid, algorithm and
// material are.
func (s *snapshot) holds(k *key) bool {
	return slices.ContainsFunc(s.keys, func(have *key) bool { return have.print == k.print })
}

// keySet is the keys of one issuer. Verification reads it without a lock; one
// goroutine, the refresher, replaces what it holds.
type keySet struct {
	current atomic.Pointer[snapshot] // nil until the first success
	until   atomic.Int64             // instant after which current is too old; 0: never

	refresher *refresher // nil for inline keys
}

// fixedKeySet holds inline keys.
func fixedKeySet(keys ...*key) *keySet {
	s := new(keySet)
	s.current.Store(newSnapshot(keys))
	return s
}

// usable returns the keys, or nil if none were ever fetched or they are older
// than max_stale.
func (s *keySet) usable(now instant) *snapshot {
	if until := s.until.Load(); until != 0 && int64(now) > until {
		return nil
	}
	return s.current.Load()
}

// await asks for a fetch as soon as the minimum interval allows and returns a
// channel that is closed after it, or nil if it is not worth waiting for.
func (s *keySet) await() <-chan struct{} {
	if s.refresher == nil {
		return nil
	}
	return s.refresher.await()
}

// replace installs keys after a successful fetch and reports whether they are
// others than before.
func (s *keySet) replace(keys []*key, until instant) bool {
	s.until.Store(int64(until))
	if old := s.current.Load(); old != nil && len(old.keys) == len(keys) && !slices.ContainsFunc(keys, func(k *key) bool { return !old.holds(k) }) {
		return false
	}
	s.current.Store(newSnapshot(keys))
	return true
}

// keySetState is what operators see of a key set.
type keySetState struct {
	Source      string     `json:"source"`
	Keys        []keyState `json:"keys"`
	Fetched     *time.Time `json:"fetched,omitempty"`
	AgeSeconds  float64    `json:"age_seconds,omitempty"`
	NextRefresh *time.Time `json:"next_refresh,omitempty"`
	StaleAfter  *time.Time `json:"stale_after,omitempty"`
	Fetches     uint64     `json:"fetches"`
	Failures    uint64     `json:"failures"`
	LastError   string     `json:"last_error,omitempty"`
	Problems    []string   `json:"problems,omitempty"`
}

type keyState struct {
	KID         string `json:"kid,omitempty"`
	Algorithm   string `json:"alg,omitempty"`
	Type        string `json:"type"`
	Fingerprint string `json:"fingerprint"`
}

func (s *keySet) state() keySetState {
	st := keySetState{Source: "inline", Keys: []keyState{}}
	if snap := s.current.Load(); snap != nil {
		for _, k := range snap.keys {
			st.Keys = append(st.Keys, keyState{KID: k.kid, Algorithm: k.alg, Type: k.kty + " " + k.describe(), Fingerprint: k.print})
		}
	}
	if until := s.until.Load(); until != 0 {
		t := time.UnixMilli(until).UTC()
		st.StaleAfter = &t
	}
	if s.refresher != nil {
		s.refresher.fill(&st)
	}
	return st
}

// progress is what the refresher remembers of its fetches.
type progress struct {
	mu       sync.Mutex
	attempt  time.Time // start of the last fetch
	success  time.Time
	next     time.Time // start of the next planned fetch
	failed   int       // failures in a row
	fetches  uint64
	failures uint64
	err      error
	problems []error
}
