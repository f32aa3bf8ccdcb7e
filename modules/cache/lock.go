package cache

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Of the gateways that want the same thing at the same time, the one that holds
// a lock in Redis asks the origin; the others wait for what it stores. No one
// waits longer than the lock lasts, nor at all without Redis.

// lockNothing is what a lock is set to when the response may not be shared.
const lockNothing = "nothing"

// How long to wait before looking again, from and to.
const (
	lockPollMin = 5 * time.Millisecond
	lockPollMax = 50 * time.Millisecond
)

// takeLock returns "" if the lock is taken now, else what it is.
var takeLock = redis.NewScript(`
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return '' end
return redis.call('GET', KEYS[1]) or 'gone'`)

// giveLock ends a lock that is still its owner's: it is deleted, or says for a
// while that there is nothing to wait for.
var giveLock = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return 1`)

// lock is the right to ask the origin on behalf of the fleet. nil is none.
type lock struct {
	remote     *remote
	key, owner string
}

// lead asks the origin for all who wait in this process and, with a lock, in the
// fleet.
func (x *exchange) lead(stored *Entry, v Verdict, fl *flight) error {
	patience := time.Duration(x.h.L2.Lock)
	if x.h.remote == nil || patience <= 0 || !x.h.remote.lock(x, patience) {
		return x.forward(stored, v, fl)
	}
	e := x.h.remote.fetch(x)
	if e == nil {
		return x.forward(stored, v, fl)
	}
	x.now = time.Now().UnixMilli()
	gone, soft := x.h.store.purges.State(e)
	if gone || Decide(&x.q, e, soft, x.now).Action != Serve {
		return x.forward(stored, v, fl)
	}
	x.lock.release(0)
	fl.selects = selection{search: x.p.search, vary: x.p.spec}
	fl.add(e.body, 0)
	fl.announce(e)
	fl.finish(landed)
	x.h.store.flights.end(fl)
	x.answer(e, nil, outHit)
	return nil
}

// lock waits for the lock of what a request wants, or until there is nothing to
// wait for. It reports whether another node may have stored something since the
// request looked; x.lock is set if it is this node's turn.
func (m *remote) lock(x *exchange, patience time.Duration) bool {
	l := &lock{remote: m, key: m.lockKey(x.p.full), owner: m.node + "/" + itoa(int(m.locks.Add(1)))}
	poll := lockPollMin
	for end := time.Now().Add(patience); ; poll = min(2*poll, lockPollMax) {
		held, err := l.take(x.r.Context(), patience)
		switch {
		case err != nil || held == lockNothing:
			return false
		case held == "":
			x.lock = l
			return true
		case time.Until(end) < poll:
			return false
		}
		select {
		case <-time.After(poll):
		case <-x.r.Context().Done():
			return false
		}
	}
}

func (m *remote) lockKey(key []byte) string {
	return strings.Replace(m.entryKey(key), "e:", "l:", 1)
}

// take tries to take the lock, and returns who holds it if not.
func (l *lock) take(ctx context.Context, patience time.Duration) (holder string, err error) {
	ctx, cancel := context.WithTimeout(ctx, l.remote.redis.Timeout())
	defer cancel()
	err = l.remote.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
		holder, err = takeLock.Run(ctx, l.remote.redis.Client(), []string{l.key}, l.owner, patience.Milliseconds()).Text()
		return err
	})
	return holder, err
}

// release gives the lock back, after what was saved before. With a time others
// do not wait for each other so long, as there is nothing to share.
func (l *lock) release(nothing time.Duration) {
	if l == nil {
		return
	}
	l.remote.later(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, max(l.remote.redis.Timeout(), time.Second))
		defer cancel()
		_ = l.remote.redis.Do(ctx, func(ctx context.Context, _ redis.Cmdable) error {
			return giveLock.Run(ctx, l.remote.redis.Client(), []string{l.key}, l.owner, nothing.Milliseconds(), lockNothing).Err()
		})
	})
}

// unlock gives the fill's lock back, once it is known what others get of it.
func (f *fill) unlock() {
	if f.lock == nil {
		return
	}
	nothing := time.Duration(f.x.h.HitForMiss)
	if f.saved || f.failed {
		nothing = 0
	}
	f.lock.release(nothing)
	f.lock = nil
}
