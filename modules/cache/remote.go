package cache

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// remotePool keeps the connection of a cache to Redis over reloads.
var remotePool = caddy.NewUsagePool()

// remoteKey tells remotes apart.
type remoteKey struct {
	name  string
	redis *gateway.Redis
}

// remote is the second level: Redis, shared by the gateways of a fleet. No
// request waits for it longer than its timeout, and none at all while it is
// known to be down. It is safe for concurrent use.
//
// In Redis an entry is a hash of head and body. A purge does not look for
// entries: it leaves a mark, the time of the purge by Redis's clock, under the
// name of what was purged, and an entry is worthless if there is a mark younger
// than it. So that no entry outlives a mark, marks stay longer than entries.
type remote struct {
	store  *Store
	redis  *gateway.Redis
	prefix string
	node   string
	ttl    atomic.Int64 // ms
	locks  atomic.Int64 // taken so far
	clock  remoteClock
	writes chan func(context.Context)
	outbox outbox
	ctx    context.Context
	cancel context.CancelFunc
	stop   func()
	wg     sync.WaitGroup
}

const (
	// remoteWrites bounds how many entries wait to be written to Redis; what is
	// more than that is not written.
	remoteWrites = 1024

	// markGrace is how much longer than entries marks stay.
	markGrace = 10 * time.Minute
)

func openRemote(h *Handler, r *gateway.Redis, node string) (remoteKey, *remote, error) {
	key := remoteKey{h.Name, r}
	v, _, err := remotePool.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newRemote(h.store, r, h.Name, node), nil
	})
	if err != nil {
		return key, nil, err
	}
	return key, v.(*remote), nil
}

func newRemote(s *Store, r *gateway.Redis, name, node string) *remote {
	m := &remote{
		store: s, redis: r, node: node,
		prefix: "fairway:cache:{" + name + "}:",
		writes: make(chan func(context.Context), remoteWrites),
	}
	m.outbox.signal = make(chan struct{}, 1)
	m.ttl.Store(defaultL2TTL.Milliseconds())
	m.clock.base = time.Now()
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.stop = r.Subscribe(m.channel(), m.onMessage, m.onResync)
	m.wg.Go(m.writer)
	m.wg.Go(m.sender)
	return m
}

// Destruct ends the subscription and the goroutines. The UsagePool calls it.
func (m *remote) Destruct() error {
	m.cancel()
	m.stop()
	m.wg.Wait()
	return nil
}

func (m *remote) channel() string { return m.prefix + "purges" }

// digest names a key or a target in Redis: fixed in length, and without what a
// key may hold.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}

// entryKey is spread over the slots of a Cluster, unlike the marks.
func (m *remote) entryKey(key []byte) string {
	return strings.NewReplacer("{", "", "}", "").Replace(m.prefix) + "e:" + digest(string(key))
}

func (m *remote) markKey(kind byte, target string) string {
	switch kind {
	case kindAll, kindPrefix:
		return m.prefix + string(kind)
	}
	return m.prefix + string(kind) + ":" + digest(target)
}

// remoteClock relates this node's clock to Redis's.
type remoteClock struct {
	base     time.Time
	offset   atomic.Int64 // Redis ms minus ms since base
	measured atomic.Int64 // ms since base
}

// clockMargin makes up for what the measurement does not know.
const (
	clockMargin = 100   // ms
	clockFresh  = 30000 // ms
)

func (c *remoteClock) since() int64 { return time.Since(c.base).Milliseconds() }

func (c *remoteClock) set(redisNow time.Time) {
	since := c.since()
	c.offset.Store(redisNow.UnixMilli() - since)
	c.measured.Store(max(since, 1))
}

// before returns a moment of Redis's clock that is certainly not after now, or
// 0 if that is not known.
func (c *remoteClock) before() int64 {
	at := c.measured.Load()
	if since := c.since(); at != 0 && since-at < clockFresh {
		return since + c.offset.Load() - clockMargin
	}
	return 0
}

// shift is what to add to Unix milliseconds here to get Redis's.
func (c *remoteClock) shift() int64 {
	return c.since() + c.offset.Load() - time.Now().UnixMilli()
}

// writer writes entries one after the other.
func (m *remote) writer() {
	for {
		select {
		case <-m.ctx.Done():
			return
		case write := <-m.writes:
			write(m.ctx)
		}
	}
}

// message is a purge as nodes tell each other.
type message struct {
	Node string `json:"n"`
	Purge
}

func (m *remote) onMessage(payload string) {
	var msg message
	if json.Unmarshal([]byte(payload), &msg) != nil || msg.Node == m.node {
		return
	}
	m.store.purges.Apply(msg.Purge)
}

// onResync forgets what is in memory if purges may have been missed. What still
// holds comes back from Redis, where the marks are.
func (m *remote) onResync() {
	if m.store.memory.otter.EstimatedSize() > 0 {
		m.store.purges.Apply(Purge{Kind: kindAll})
	}
}
