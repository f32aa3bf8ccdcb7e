package ratelimit

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

const (
	fleetKey = "rl:nodes"

	// A node says every fleetBeat that it lives, and counts as gone after
	// fleetGone of silence.
	fleetBeat = 15 * time.Second
	fleetGone = 45 * time.Second
)

// fleetScript notes that a node lives, forgets silent ones and counts the rest.
var fleetScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
return redis.call('ZCARD', KEYS[1])`)

// fleets has one fleet per Redis client.
var fleets = caddy.NewUsagePool()

// fleet knows how many nodes share a Redis. Its last word stands while Redis is
// away: by it a zone divides its limit. A nil fleet is one node.
type fleet struct {
	redis *gateway.Redis
	node  string
	nodes atomic.Uint32
	stop  context.CancelFunc
	deaf  func() // ends the subscription
	wg    sync.WaitGroup
}

func openFleet(r *gateway.Redis, node string) (*fleet, error) {
	v, _, err := fleets.LoadOrNew(r, func() (caddy.Destructor, error) {
		ctx, cancel := context.WithCancel(context.Background())
		f := &fleet{redis: r, node: node, stop: cancel}
		f.wg.Go(func() { f.run(ctx) })
		f.deaf = r.Subscribe(changesChannel, onChange, func() {})
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*fleet), nil
}

// Destruct ends the heartbeat and leaves the fleet. The UsagePool calls it.
func (f *fleet) Destruct() error {
	f.stop()
	f.deaf()
	f.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), f.redis.Timeout())
	defer cancel()
	_ = f.redis.Do(ctx, func(ctx context.Context, r redis.Cmdable) error {
		return r.ZRem(ctx, fleetKey, f.node).Err()
	})
	return nil
}

func (f *fleet) run(ctx context.Context) {
	ticker := time.NewTicker(fleetBeat)
	defer ticker.Stop()
	for {
		f.beat(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (f *fleet) beat(ctx context.Context) {
	_ = f.redis.Do(ctx, func(ctx context.Context, r redis.Cmdable) error {
		n, err := fleetScript.Run(ctx, r, []string{fleetKey}, f.node, fleetGone.Milliseconds()).Int64()
		if err == nil {
			f.nodes.Store(uint32(n))
		}
		return err
	})
}

// size is the number of nodes last seen, at least this one.
func (f *fleet) size() uint32 {
	if f == nil {
		return 1
	}
	return max(f.nodes.Load(), 1)
}
