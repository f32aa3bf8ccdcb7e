package gateway

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisListenCheck is how often a silent subscription is tested by a PING, beside
// the kernel's keep-alive: that finds a dead host, this one a server that lives
// and has forgotten the subscription.
const redisListenCheck = 15 * time.Second

// Subscribe calls onMessage for every message on a channel, and onResync each
// time the subscription stands (first, and after every loss of connection):
// messages may have been missed before it, so what they would have said must be
// read anew. Both are called by one goroutine. stop ends the subscription and
// waits for that goroutine; it must not be called from within the callbacks.
func (r *Redis) Subscribe(channel string, onMessage func(payload string), onResync func()) (stop func()) {
	ctx, cancel := context.WithCancel(r.ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.listen(ctx, channel, onMessage, onResync) })
	return func() {
		cancel()
		wg.Wait()
	}
}

func (r *Redis) listen(ctx context.Context, channel string, onMessage func(string), onResync func()) {
	subscription := r.client.Subscribe(ctx, channel)
	defer subscription.Close()
	events := subscription.ChannelWithSubscriptions(redis.WithChannelHealthCheckInterval(redisListenCheck))
	for {
		select {
		case <-ctx.Done():
			return
		case event, ok := <-events:
			if !ok {
				return
			}
			switch e := event.(type) {
			case *redis.Subscription:
				onResync()
			case *redis.Message:
				onMessage(e.Payload)
			}
		}
	}
}
