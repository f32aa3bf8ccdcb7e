package cache

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

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

// found is what Redis holds under one key, and the marks that concern it.
type found struct {
	head, body []byte
	specs      string // Vary lists, one a line
	marks      [][]any
	prefixes   map[string]string
}

// lookUp looks under the URL and under what responses of its path ignore of the
// query. RFC 9111, 4: the most recent counts.
func (m *remote) lookUp(ctx context.Context, x *exchange, seq uint64) (*Entry, error) {
	p := newPlace(x.p.url, x.p.from, x.p.to)
	searches := ""
	e, err := m.lookAt(ctx, x, &p, seq, &searches)
	if err != nil {
		return nil, err
	}
	at := p
	for id := range strings.SplitSeq(searches, "\n") {
		search := parseVarianceID(id)
		if search == nil {
			continue
		}
		q := p
		q.under(search)
		other, err := m.lookAt(ctx, x, &q, seq, nil)
		if err != nil {
			return nil, err
		}
		if other != nil && (e == nil || other.born > e.born) {
			e, at = other, q
		}
	}
	if e != nil {
		x.p = at
	}
	return e, nil
}

// lookAt looks under one primary key, and for the variant that matches, and
// moves the place to it. searches, if not nil, is set to what is known of the
// path's No-Vary-Search.
func (m *remote) lookAt(ctx context.Context, x *exchange, p *place, seq uint64, searches *string) (*Entry, error) {
	got, err := m.ask(ctx, p, searches)
	if err != nil {
		return nil, err
	}
	if got.specs == "" {
		return m.take(ctx, x, got, p, seq)
	}
	for spec := range strings.SplitSeq(got.specs, "\n") {
		q := *p
		q.among(strings.Split(spec, ","), x.r.Header)
		got, err := m.ask(ctx, &q, nil)
		if err != nil {
			return nil, err
		}
		if e, err := m.take(ctx, x, got, &q, seq); e != nil || err != nil {
			*p = q
			return e, err
		}
	}
	return nil, nil
}

// ask reads an entry and the marks that concern any entry of its URL, in one
// exchange.
func (m *remote) ask(ctx context.Context, at *place, searches *string) (*found, error) {
	var (
		entry, all, url *redis.SliceCmd
		others          *redis.StringCmd
		prefixes        *redis.MapStringStringCmd
		now             *redis.TimeCmd
	)
	err := m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		_, err := m.redis.Client().Pipelined(ctx, func(p redis.Pipeliner) error {
			entry = p.HMGet(ctx, m.entryKey(at.full), "h", "b", "v")
			all = p.HMGet(ctx, m.markKey(kindAll, ""), markFields...)
			url = p.HMGet(ctx, m.markKey(at.purgedAs()), markFields...)
			prefixes = p.HGetAll(ctx, m.markKey(kindPrefix, ""))
			if searches != nil {
				others = p.HGet(ctx, m.entryKey(at.group()), "n")
			}
			now = p.Time(ctx)
			return nil
		})
		if errors.Is(err, redis.Nil) { // a field is absent
			return nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	m.clock.set(now.Val())
	got := &found{prefixes: prefixes.Val(), marks: [][]any{all.Val(), url.Val()}}
	if searches != nil {
		*searches = others.Val()
	}
	values := entry.Val()
	got.head, got.body, got.specs = bytesOf(values[0]), bytesOf(values[1]), string(bytesOf(values[2]))
	return got, nil
}

// bytesOf is a value of a hash; nil if it is absent.
func bytesOf(value any) []byte {
	if s, ok := value.(string); ok {
		return []byte(s)
	}
	return nil
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// take checks what was found against the marks and puts it into memory, as stale
// if it was purged softly.
func (m *remote) take(ctx context.Context, x *exchange, got *found, p *place, seq uint64) (*Entry, error) {
	if got.head == nil {
		return nil, nil
	}
	r, err := parseRecord(got.head, got.body, m.clock.shift())
	if err != nil || r.entry.key != string(p.full) {
		return nil, nil
	}
	label(r.entry, p, r.tags)
	tags, err := m.tagMarks(ctx, r)
	if err != nil {
		return nil, err
	}
	gone, soft := marked(r, append(got.marks, tags...), got.prefixes)
	if gone {
		return nil, nil
	}
	if soft {
		r.entry.expire(x.now)
	}
	r.entry.seq = seq
	m.store.put(p, r.entry, x.h.VaryLimit)
	return r.entry, nil
}

// marked tells whether a record was purged since the origin was asked for it.
func marked(r *record, marks [][]any, prefixes map[string]string) (gone, soft bool) {
	for _, mark := range marks {
		hard, mild := cutMark(mark)
		gone = gone || hard >= r.stamp
		soft = soft || mild >= r.stamp
	}
	for field, text := range prefixes {
		kind, prefix, _ := strings.Cut(field, " ")
		if number(text) < r.stamp || !(prefixMark{prefix: prefix}).names(r.entry) {
			continue
		}
		gone = gone || kind != markSoft
		soft = soft || kind == markSoft
	}
	return gone, soft
}

// cutMark reads the fields of a mark, of which either may be absent.
func cutMark(values []any) (hard, soft int64) {
	return number(string(bytesOf(values[0]))), number(string(bytesOf(values[1])))
}

// tagMarks reads the marks on an entry's tags.
func (m *remote) tagMarks(ctx context.Context, r *record) ([][]any, error) {
	if len(r.tags) == 0 {
		return nil, nil
	}
	host, _, _ := strings.Cut(r.entry.uri(), "/")
	var replies []*redis.SliceCmd
	err := m.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		_, err := m.redis.Client().Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, tag := range r.tags {
				replies = append(replies, p.HMGet(ctx, m.markKey(kindTag, tagTarget(host, tag)), markFields...),
					p.HMGet(ctx, m.markKey(kindTag, tagTarget("", tag)), markFields...))
			}
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	marks := make([][]any, len(replies))
	for i, reply := range replies {
		marks[i] = reply.Val()
	}
	return marks, nil
}
