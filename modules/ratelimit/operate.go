package ratelimit

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// What operators do to keys in Redis. These run from the admin endpoint, never
// within a request.

// resetScript forgets the counts of a policy but keeps what nodes left there, so
// that none takes the reset for a loss of data; refunds from before are void.
var resetScript = redis.NewScript(`
local fields = redis.call('HKEYS', KEYS[1])
if #fields == 0 then return 0 end
local t = redis.call('TIME')
for _, f in ipairs(fields) do
  if f == 'a' then redis.call('HSET', KEYS[1], f, 0)
  elseif string.match(f, '^%d+$') then redis.call('HDEL', KEYS[1], f) end
end
redis.call('HSET', KEYS[1], 'b', string.format('%.0f', t[1] * 1000000 + t[2]))
return 1`)

// countScript returns what a policy counts now.
var countScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local window, slots, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local h = redis.call('HGETALL', KEYS[1])
local sum, width = 0, math.ceil(window / slots)
for i = 1, #h, 2 do
  local v = tonumber(h[i + 1])
  if h[i] == 'a' then
    local step = limit > 0 and math.ceil(window / limit) or window
    sum = math.max(math.ceil((v - now) / step), 0)
  elseif string.match(h[i], '^%d+$') and tonumber(h[i]) >= math.floor(now / width) - slots then
    sum = sum + v
  end
end
return {sum, redis.call('PTTL', KEYS[2])}`)

// operatorTries is how often an operator's action is tried: the timeout of Redis
// is one for requests, and all of these may be repeated.
const operatorTries = 5

func (b *redisBackend) patiently(ctx context.Context, fn func(context.Context, redis.Cmdable) error) (err error) {
	for range operatorTries {
		if err = b.redis.Do(ctx, fn); err == nil || ctx.Err() != nil || errors.Is(err, gateway.ErrRedisDown) {
			return err
		}
	}
	return err
}

// counted reads a key's counts and how long it is banned, in µs.
func (b *redisBackend) counted(ctx context.Context, name string, set *policySet) (sums [maxPolicies]uint32, banned int64, err error) {
	base := b.base(name)
	for i := range set.policies {
		p := &set.policies[i]
		var v []int64
		err = b.patiently(ctx, func(ctx context.Context, r redis.Cmdable) (err error) {
			v, err = countScript.Run(ctx, r, []string{base + p.tag(set.gcra), base + "ban"}, p.window, p.slots, p.limit).Int64Slice()
			return err
		})
		if err != nil {
			return sums, 0, err
		}
		sums[i], banned = uint32(v[0]), max(v[1], 0)*1000
	}
	return sums, banned, nil
}

func (b *redisBackend) reset(ctx context.Context, name string, set *policySet) error {
	base := b.base(name)
	for i := range set.policies {
		err := b.patiently(ctx, func(ctx context.Context, r redis.Cmdable) error {
			return resetScript.Run(ctx, r, []string{base + set.policies[i].tag(set.gcra)}).Err()
		})
		if err != nil {
			return err
		}
	}
	return b.patiently(ctx, func(ctx context.Context, r redis.Cmdable) error {
		return r.Del(ctx, base+"denials").Err()
	})
}

func (b *redisBackend) ban(ctx context.Context, name string, length time.Duration) error {
	return b.patiently(ctx, func(ctx context.Context, r redis.Cmdable) error {
		return r.Set(ctx, b.base(name)+"ban", "1", length).Err()
	})
}

func (b *redisBackend) unban(ctx context.Context, name string) error {
	base := b.base(name)
	return b.patiently(ctx, func(ctx context.Context, r redis.Cmdable) error {
		return r.Del(ctx, base+"ban", base+"denials").Err()
	})
}

// changesChannel carries the keys that an operator changed.
const changesChannel = "rl:changes"

// change names a key to all nodes. It is never stored.
type change struct {
	Zone string `json:"zone"`
	Key  string `json:"key"`
	Ban  int64  `json:"ban,omitempty"` // µs
}

func (b *redisBackend) announce(ctx context.Context, c change) error {
	payload, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return b.patiently(ctx, func(ctx context.Context, r redis.Cmdable) error {
		return r.Publish(ctx, changesChannel, payload).Err()
	})
}

// onChange drops what this node holds of a key that an operator changed. A
// message that is missed costs no more than the rest of a lease.
func onChange(payload string) {
	var c change
	if json.Unmarshal([]byte(payload), &c) != nil {
		return
	}
	states.Range(func(pooled, v any) bool {
		if s, ok := v.(*state); ok && strings.HasPrefix(pooled.(string), c.Zone+"\x00") {
			s.changed(KeyOf(c.Key), c.Ban, timeNow().mono)
		}
		return true
	})
}

// changed applies an operator's change to this process.
func (s *state) changed(k Key, ban, now int64) {
	s.accounts.forget(k)
	if ban > 0 {
		s.bans.order(k, now+ban)
	} else {
		s.bans.remove(k)
	}
}
