package cache

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// save writes an entry to Redis in the background. It reports false if it does
// not.
func (m *remote) save(x *exchange, e *Entry, tags []string, stamp, maxBody int64) bool {
	if stamp == 0 || !m.redis.Up() || m.outbox.pending() || int64(len(e.body)) > maxBody || e.has(flagPartial) {
		return false
	}
	ttl := min(e.keep-time.Now().UnixMilli(), m.ttl.Load())
	if ttl <= 0 {
		return false
	}
	w := &write{
		key: m.entryKey([]byte(e.key)), body: e.body, ttl: time.Duration(ttl) * time.Millisecond,
		head: appendRecord(nil, &record{entry: e, tags: tags, stamp: stamp}, m.clock.shift()),
	}
	if len(x.p.spec) > 0 {
		w.list(m.entryKey(x.p.key), "v", strings.Join(x.p.spec, ","))
	}
	if x.p.search != nil {
		w.list(m.entryKey(x.p.group()), "n", x.p.search.id)
	}
	return m.later(func(ctx context.Context) { m.write(ctx, w) })
}

// later has the writer do something, unless it has too much to do already.
func (m *remote) later(what func(context.Context)) bool {
	select {
	case m.writes <- what:
		return true
	default:
		return false
	}
}

// write is an entry on its way to Redis, and the lists through which it is found.
type write struct {
	key        string
	head, body []byte
	ttl        time.Duration
	lists      []listing
}

type listing struct{ key, field, member string }

func (w *write) list(key, field, member string) {
	w.lists = append(w.lists, listing{key, field, member})
}

func (m *remote) write(ctx context.Context, w *write) {
	ctx, cancel := context.WithTimeout(ctx, max(m.redis.Timeout(), time.Second))
	defer cancel()
	err := m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		_, err := m.redis.Client().TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HDel(ctx, w.key, "v")
			p.HSet(ctx, w.key, "h", w.head, "b", w.body)
			p.PExpire(ctx, w.key, w.ttl)
			return nil
		})
		return err
	})
	for i := 0; err == nil && i < len(w.lists); i++ {
		l := w.lists[i]
		err = m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
			return addToList.Run(ctx, m.redis.Client(), []string{l.key}, l.field, l.member, w.ttl.Milliseconds(), maxSpecs).Err()
		})
	}
}

// addToList puts a Vary list in front of those known for a URL, or a
// No-Vary-Search in front of those of a path, and lets the list live as long as
// the longest-lived of what is found through it.
var addToList = redis.NewScript(`
local list = {ARGV[2]}
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old then
	for member in string.gmatch(old, '[^\n]+') do
		if member ~= ARGV[2] and #list < tonumber(ARGV[4]) then table.insert(list, member) end
	end
end
redis.call('HDEL', KEYS[1], 'h', 'b')
redis.call('HSET', KEYS[1], ARGV[1], table.concat(list, '\n'))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return #list`)
