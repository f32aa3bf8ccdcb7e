package ratelimit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

var (
	//go:embed charge.lua
	chargeLua string
	//go:embed sliding.lua
	slidingLua string
	//go:embed gcra.lua
	gcraLua string

	slidingScript = redis.NewScript(chargeLua + slidingLua)
	gcraScript    = redis.NewScript(chargeLua + gcraLua)
)

// backend charges the counts that all nodes share. It returns an error if there
// is no telling whether the charge was made.
type backend interface {
	charge(ctx context.Context, c *call) (*reply, error)
}

// redisDoer is the part of gateway.Redis that charging needs.
type redisDoer interface {
	Do(ctx context.Context, fn func(ctx context.Context, c redis.Cmdable) error) error
}

// redisBackend keeps the counts of one zone in Redis.
type redisBackend struct {
	redis redisDoer
	zone  string // as it stands in keys
	node  string
}

func newRedisBackend(r redisDoer, zone, node string) *redisBackend {
	// PathEscape also escapes braces, which would move the hash tag.
	return &redisBackend{redis: r, zone: url.PathEscape(zone), node: node}
}

// base is the start of all keys of one key of the zone. The braces put them on
// one node of a Cluster.
func (b *redisBackend) base(name string) string {
	return "rl:{" + b.zone + ":" + name + "}:"
}

func (b *redisBackend) keys(name string, set *policySet) []string {
	base := b.base(name)
	keys := make([]string, 0, maxPolicies+2)
	for i := range set.policies {
		keys = append(keys, base+set.policies[i].tag(set.gcra))
	}
	return append(keys, base+"ban", base+"denials")
}

// tag names a policy's counts in Redis by what gives them meaning.
func (p *policy) tag(gcra bool) string {
	if gcra {
		return strconv.FormatInt(p.window, 10) + ".gcra"
	}
	return strconv.FormatInt(p.window, 10) + "." + strconv.FormatInt(p.slots, 10)
}

func (b *redisBackend) charge(ctx context.Context, c *call) (*reply, error) {
	script := slidingScript
	if c.set.gcra {
		script = gcraScript
	}
	keys, args := b.keys(c.name.String(), c.set), b.args(c)
	var values []int64
	err := b.redis.Do(ctx, func(ctx context.Context, r redis.Cmdable) (err error) {
		values, err = script.Run(ctx, r, keys, args...).Int64Slice()
		return err
	})
	if err != nil {
		return nil, err
	}
	return readReply(values, len(c.set.policies))
}

func (b *redisBackend) args(c *call) []any {
	again := 0
	if c.again {
		again = 1
	}
	args := make([]any, 0, 13+4*len(c.set.policies)+(2+maxPolicies)*len(c.refunds))
	args = append(args, len(c.set.policies), c.cost, c.want, c.demand, c.share, b.node, c.total, c.seq, again,
		c.denials, c.ban.threshold, c.ban.within, c.ban.length)
	for i := range c.set.policies {
		p := &c.set.policies[i]
		args = append(args, p.limit, p.window, p.slots, c.own[i])
	}
	for _, r := range c.refunds {
		args = append(args, r.at, r.amount)
		for i := range c.set.policies {
			args = append(args, r.slots[i])
		}
	}
	return args
}

var errReply = errors.New("the rate limit script returned something else")

func readReply(v []int64, policies int) (*reply, error) {
	if len(v) != 9+policies || v[1] < 0 || v[1] >= int64(policies) || v[0] < 0 || v[0] > int64(^uint32(0)) {
		return nil, fmt.Errorf("%w: %v", errReply, v)
	}
	r := &reply{
		granted: uint32(v[0]), policy: uint8(v[1]), remaining: uint32(min(v[2], int64(^uint32(0)))),
		wait: v[3], reset: v[4], slotLeft: v[5], total: v[6], now: v[7], ban: v[8],
	}
	copy(r.slots[:], v[9:])
	return r, nil
}

var _ redisDoer = (*gateway.Redis)(nil)
