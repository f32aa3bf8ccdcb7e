package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

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

// fetch looks for a request's entry in Redis and takes it into memory.
func (m *remote) fetch(x *exchange) *Entry {
	if !m.redis.Up() || m.outbox.pending() {
		return nil
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), m.redis.Timeout())
	defer cancel()
	seq := m.store.purges.Seq()
	start := time.Now()
	e, err := m.lookUp(ctx, x, seq)
	result := "miss"
	switch {
	case err != nil:
		result = "error"
	case e != nil:
		result = "hit"
	}
	l2Seconds.WithLabelValues(result).Observe(time.Since(start).Seconds())
	return e
}

// found is what Redis holds under one key.
type found struct {
	head, body, specs []byte
	marks             []int64 // of all, of the URL
	prefixes          map[string]string
}

func (m *remote) lookUp(ctx context.Context, x *exchange, seq uint64) (*Entry, error) {
	got, err := m.ask(ctx, x.p.key, x.p.uri())
	if err != nil {
		return nil, err
	}
	if got.specs == nil {
		return m.take(ctx, x, got, nil, x.p.key, seq)
	}
	for spec := range strings.SplitSeq(string(got.specs), "\n") {
		names := strings.Split(spec, ",")
		full := appendVariant(bytes.Clone(x.p.key), names, x.r.Header)
		got, err := m.ask(ctx, full, x.p.uri())
		if err != nil {
			return nil, err
		}
		if e, err := m.take(ctx, x, got, names, full, seq); e != nil || err != nil {
			return e, err
		}
	}
	return nil, nil
}

// ask reads an entry and the marks that concern any entry of its URL, in one
// exchange.
func (m *remote) ask(ctx context.Context, key []byte, uri string) (*found, error) {
	var (
		entry    *redis.SliceCmd
		all, url *redis.StringCmd
		prefixes *redis.MapStringStringCmd
		now      *redis.TimeCmd
	)
	err := m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		_, err := m.redis.Client().Pipelined(ctx, func(p redis.Pipeliner) error {
			entry = p.HMGet(ctx, m.entryKey(key), "h", "b", "v")
			all = p.Get(ctx, m.markKey(kindAll, ""))
			url = p.Get(ctx, m.markKey(kindURL, uri))
			prefixes = p.HGetAll(ctx, m.markKey(kindPrefix, ""))
			now = p.Time(ctx)
			return nil
		})
		if errors.Is(err, redis.Nil) { // a mark is absent
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m.clock.set(now.Val())
	got := &found{prefixes: prefixes.Val(), marks: []int64{number(all.Val()), number(url.Val())}}
	for i, to := range [...]*[]byte{&got.head, &got.body, &got.specs} {
		if v, ok := entry.Val()[i].(string); ok {
			*to = []byte(v)
		}
	}
	return got, nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// take checks what was found against the marks and puts it into memory.
func (m *remote) take(ctx context.Context, x *exchange, got *found, spec []string, full []byte, seq uint64) (*Entry, error) {
	if got.head == nil {
		return nil, nil
	}
	r, err := parseRecord(got.head, got.body, m.clock.shift())
	if err != nil || r.entry.key != string(full) {
		return nil, nil
	}
	for _, mark := range got.marks {
		if mark >= r.stamp {
			return nil, nil
		}
	}
	uri := r.entry.key[r.from:r.to]
	for prefix, mark := range got.prefixes {
		if number(mark) >= r.stamp && strings.HasPrefix(uri, prefix) {
			return nil, nil
		}
	}
	if gone, err := m.tagsGone(ctx, uri, r); gone || err != nil {
		return nil, err
	}
	x.p.spec, x.p.full, x.p.variant = spec, full, hashOf(full)
	label(r.entry, &x.p, r.tags)
	r.entry.seq = seq
	m.store.put(&x.p, r.entry, x.h.VaryLimit)
	return r.entry, nil
}

func (m *remote) tagsGone(ctx context.Context, uri string, r *record) (bool, error) {
	if len(r.tags) == 0 {
		return false, nil
	}
	host, _, _ := strings.Cut(uri, "/")
	var marks []*redis.StringCmd
	err := m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		_, err := m.redis.Client().Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, tag := range r.tags {
				marks = append(marks, p.Get(ctx, m.markKey(kindTag, tagTarget(host, tag))),
					p.Get(ctx, m.markKey(kindTag, tagTarget("", tag))))
			}
			return nil
		})
		if errors.Is(err, redis.Nil) {
			return nil
		}
		return err
	})
	if err != nil {
		return true, err
	}
	for _, mark := range marks {
		if number(mark.Val()) >= r.stamp {
			return true, nil
		}
	}
	return false, nil
}

// save writes an entry to Redis in the background.
func (m *remote) save(x *exchange, e *Entry, tags []string, stamp, maxBody int64) {
	if stamp == 0 || !m.redis.Up() || m.outbox.pending() || int64(len(e.body)) > maxBody || e.has(flagPartial) {
		return
	}
	ttl := min(e.keep-time.Now().UnixMilli(), m.ttl.Load())
	if ttl <= 0 {
		return
	}
	r := &record{entry: e, tags: tags, from: x.p.from, to: x.p.to, stamp: stamp}
	head := appendRecord(nil, r, m.clock.shift())
	key := m.entryKey([]byte(e.key))
	primary, spec := "", ""
	if len(x.p.spec) > 0 {
		primary, spec = m.entryKey(x.p.key), strings.Join(x.p.spec, ",")
	}
	write := func(ctx context.Context) {
		m.write(ctx, key, head, e.body, primary, spec, time.Duration(ttl)*time.Millisecond)
	}
	select {
	case m.writes <- write:
	default:
	}
}

func (m *remote) write(ctx context.Context, key string, head, body []byte, primary, spec string, ttl time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, max(m.redis.Timeout(), time.Second))
	defer cancel()
	_ = m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		_, err := m.redis.Client().TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HDel(ctx, key, "v")
			p.HSet(ctx, key, "h", head, "b", body)
			p.PExpire(ctx, key, ttl)
			return nil
		})
		return err
	})
	if primary == "" {
		return
	}
	_ = m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		return addSpec.Run(ctx, m.redis.Client(), []string{primary}, spec, ttl.Milliseconds(), maxSpecs).Err()
	})
}

// addSpec puts a Vary list in front of those known for a URL and lets the list
// live as long as the longest-lived variant.
var addSpec = redis.NewScript(`
local specs = {ARGV[1]}
local old = redis.call('HGET', KEYS[1], 'v')
if old then
	for spec in string.gmatch(old, '[^\n]+') do
		if spec ~= ARGV[1] and #specs < tonumber(ARGV[3]) then table.insert(specs, spec) end
	end
end
redis.call('HDEL', KEYS[1], 'h', 'b')
redis.call('HSET', KEYS[1], 'v', table.concat(specs, '\n'))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return #specs`)

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
