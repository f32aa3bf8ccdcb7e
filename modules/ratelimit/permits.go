package ratelimit

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// permits limits how many requests of a key are under way at once. With Redis a
// node publishes how many it has, as an absolute number that holds for
// permitLife: a repeated or lost message does no harm, and what a dead node held
// comes free by itself. It may be used by many goroutines.
//
// A node that stands still for longer than permitLife and then goes on may bring
// the fleet above the limit with the requests it had under way.
type permits struct {
	mu   sync.Mutex
	held map[Key]*holding
}

const (
	permitLife = 10 * time.Second

	// permitRefresh is how old a publication may get.
	permitRefresh = permitLife / 3
)

// holding is what this node has of a key. permits.mu guards all but turn.
type holding struct {
	name  string // of the key in Redis
	turn  chan struct{}
	count uint32 // requests under way
	users int    // those that look at this holding; it goes with the last

	published uint32  // what Redis granted, to be used until fresh
	fresh     instant // when the publication ends
	refreshAt int64   // mono
	tight     bool    // others may be waiting for what comes free
}

func newPermits() *permits { return &permits{held: make(map[Key]*holding)} }

// permitRule is a zone's limit for one key.
type permitRule struct {
	limit  uint32
	share  uint32 // without Redis, the limit is divided by this
	outage outage
}

// permitStore publishes what a node holds and returns what it may hold.
type permitStore interface {
	publish(ctx context.Context, name string, want, limit uint32) (granted uint32, tight bool, err error)
}

// acquire takes a permit. The caller must release it if it gets one.
func (p *permits) acquire(ctx context.Context, k Key, text string, rule permitRule, store permitStore, clock func() instant) bool {
	h := p.open(k, text)
	if store == nil {
		return p.takeUpTo(k, h, rule.limit)
	}
	if p.takeSpare(h, clock()) {
		return true
	}
	h.turn <- struct{}{} // one publication of a key at a time keeps them in order
	defer func() { <-h.turn }()
	if p.takeSpare(h, clock()) {
		return true
	}
	if err := p.publish(ctx, h, 1, rule.limit, store, clock); err != nil {
		return p.takeAlone(k, h, rule)
	}
	if p.takeSpare(h, clock()) {
		return true
	}
	p.close(k, h)
	return false
}

func (p *permits) open(k Key, text string) *holding {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[k]
	if h == nil {
		h = &holding{name: sharedName(text), turn: make(chan struct{}, 1)}
		p.held[k] = h
	}
	h.users++
	return h
}

// close is for one that got no permit.
func (p *permits) close(k Key, h *holding) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(k, h)
}

func (p *permits) leave(k Key, h *holding) {
	h.users--
	if h.users == 0 && h.published == 0 {
		delete(p.held, k)
	}
}

func (p *permits) takeUpTo(k Key, h *holding, limit uint32) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.count >= limit {
		p.leave(k, h)
		return false
	}
	h.count++
	return true
}

func (p *permits) takeSpare(h *holding, now instant) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.count >= h.published || now.mono >= h.fresh.mono || now.wall >= h.fresh.wall {
		return false
	}
	h.count++
	return true
}

func (p *permits) takeAlone(k Key, h *holding, rule permitRule) bool {
	switch rule.outage {
	case outageAllow:
		return p.takeUpTo(k, h, ^uint32(0))
	case outageDeny:
		p.close(k, h)
		return false
	}
	return p.takeUpTo(k, h, max(rule.limit/max(rule.share, 1), min(rule.limit, 1)))
}

// publish tells Redis what the node holds, and more if it needs more. The caller
// has the turn.
func (p *permits) publish(ctx context.Context, h *holding, more, limit uint32, store permitStore, clock func() instant) error {
	p.mu.Lock()
	want := h.count + more
	p.mu.Unlock()
	sent := clock()
	granted, tight, err := store.publish(context.WithoutCancel(ctx), h.name, want, limit)
	if err != nil {
		return err
	}
	life := permitLife.Microseconds()
	life -= life / driftMargin
	p.mu.Lock()
	defer p.mu.Unlock()
	h.published, h.tight = granted, tight
	h.fresh = instant{sent.mono + life, sent.wall + life}
	h.refreshAt = sent.mono + permitRefresh.Microseconds()
	return nil
}

// release gives a permit back. It reports whether others may be waiting for it,
// so that it should be published at once.
func (p *permits) release(k Key) (soon bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.held[k]
	h.count--
	soon = h.tight && h.published > h.count
	p.leave(k, h)
	return soon
}

// keep publishes what changed and refreshes what gets old.
func (p *permits) keep(ctx context.Context, limit uint32, store permitStore, clock func() instant) {
	for k, h := range p.due(clock().mono) {
		select {
		case h.turn <- struct{}{}:
			_ = p.publish(ctx, h, 0, limit, store, clock) // a failure is tried again later
			<-h.turn
			p.close(k, h)
		default: // somebody is publishing it right now
			p.close(k, h)
		}
	}
}

func (p *permits) due(now int64) map[Key]*holding {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := make(map[Key]*holding)
	for k, h := range p.held {
		if h.published > h.count || h.published > 0 && now >= h.refreshAt {
			h.users++
			due[k] = h
		}
	}
	return due
}

// inUse is how many requests of a key are under way on this node.
func (p *permits) inUse(k Key) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h := p.held[k]; h != nil {
		return h.count
	}
	return 0
}

// permitScript sets what a node holds, as far as the others leave room, and
// forgets nodes that have not published for long. A value is count:end in ms.
var permitScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local node, want, limit, life = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local others, mine = 0, 0
local h = redis.call('HGETALL', KEYS[1])
for i = 1, #h, 2 do
  local count, ends = string.match(h[i + 1], '^(%d+):(%d+)$')
  if h[i] == node then
    if tonumber(ends) > now then mine = tonumber(count) end
  elseif tonumber(ends) > now then others = others + tonumber(count)
  else redis.call('HDEL', KEYS[1], h[i]) end
end
-- A node keeps what it has even if the limit was lowered: it is in use.
local granted = math.min(want, math.max(limit - others, math.min(mine, want)))
if granted > 0 then
  redis.call('HSET', KEYS[1], node, string.format('%.0f:%.0f', granted, now + life))
  redis.call('PEXPIRE', KEYS[1], life)
else
  redis.call('HDEL', KEYS[1], node)
end
return {granted, others}`)

func (b *redisBackend) publish(ctx context.Context, name string, want, limit uint32) (granted uint32, tight bool, err error) {
	var v []int64
	err = b.redis.Do(ctx, func(ctx context.Context, r redis.Cmdable) (err error) {
		v, err = permitScript.Run(ctx, r, []string{b.base(name) + "permits"}, b.node, want, limit, permitLife.Milliseconds()).Int64Slice()
		return err
	})
	if err != nil {
		return 0, false, err
	}
	return uint32(v[0]), v[0]+v[1] >= int64(limit), nil
}

var _ permitStore = (*redisBackend)(nil)
