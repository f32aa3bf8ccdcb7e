package cache

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// outboxLimit is how many purges wait for Redis; more become one purge of
// everything.
const outboxLimit = 10000

// outbox holds the purges that Redis does not know yet, in order. While it is
// not empty this node neither trusts nor feeds what is in Redis.
type outbox struct {
	mu     sync.Mutex
	list   []Purge
	signal chan struct{}
}

func (o *outbox) add(p Purge) {
	o.mu.Lock()
	if len(o.list) >= outboxLimit {
		o.list = []Purge{{Kind: kindAll}}
	}
	o.list = append(o.list, p)
	o.mu.Unlock()
	select {
	case o.signal <- struct{}{}:
	default:
	}
}

func (o *outbox) pending() bool { return o.size() > 0 }

func (o *outbox) size() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.list)
}

// take returns the waiting purges without removing them.
func (o *outbox) take() []Purge {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list[:min(len(o.list), 100):min(len(o.list), 100)]
}

// done removes what was taken.
func (o *outbox) done(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = o.list[min(n, len(o.list)):]
}

// sendRetry is how long the sender waits while Redis is down.
const sendRetry = 100 * time.Millisecond

// sender tells Redis, and through it the other nodes, of purges.
func (m *remote) sender() {
	retry := time.NewTicker(sendRetry)
	defer retry.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.outbox.signal:
		case <-retry.C:
		}
		for m.ctx.Err() == nil {
			batch := m.outbox.take()
			if len(batch) == 0 || m.send(batch) != nil {
				break
			}
			m.outbox.done(len(batch))
		}
	}
}

// A mark is a hash: the times of the last hard and of the last soft purge. That
// on prefixes has such a field, a space and the prefix, for each.
const (
	markHard = "h"
	markSoft = "s"
)

var markFields = []string{markHard, markSoft}

// leaveMark sets a mark and tells the other nodes. A list of prefixes that grew
// too long becomes a mark on everything.
var leaveMark = redis.NewScript(`
local t = redis.call('TIME')
local ms = t[1] * 1000 + math.floor(t[2] / 1000)
local now = string.format('%.0f', ms)
local function mark(key, field)
	redis.call('HSET', key, field, now)
	redis.call('PEXPIRE', key, ARGV[3])
end
if ARGV[1] == 'p' then
	mark(KEYS[1], ARGV[7] .. ' ' .. ARGV[2])
	if redis.call('HLEN', KEYS[1]) > tonumber(ARGV[6]) then
		redis.call('DEL', KEYS[1])
		mark(KEYS[2], 'h')
	end
else
	for i = 1, #KEYS do mark(KEYS[i], ARGV[7]) end
end
redis.call('PUBLISH', ARGV[4], ARGV[5])
return now`)

func (m *remote) send(batch []Purge) error {
	ctx, cancel := context.WithTimeout(m.ctx, max(m.redis.Timeout(), time.Second))
	defer cancel()
	ttl := m.ttl.Load() + markGrace.Milliseconds()
	for i, p := range batch {
		payload, err := json.Marshal(message{m.node, p})
		if err != nil {
			continue
		}
		err = m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
			keys := []string{m.markKey(p.Kind, p.Target)}
			switch p.Kind {
			case kindPrefix:
				keys = append(keys, m.markKey(kindAll, ""))
			case kindURL:
				keys = append(keys, m.markKey(kindPath, pathOf(p.Target)))
			}
			field := markHard
			if p.Soft {
				field = markSoft
			}
			return leaveMark.Run(ctx, m.redis.Client(), keys, string(p.Kind), p.Target, ttl,
				m.channel(), string(payload), maxPrefixes, field).Err()
		})
		if err != nil && !errors.Is(err, redis.Nil) {
			m.outbox.done(i)
			return err
		}
	}
	return nil
}
