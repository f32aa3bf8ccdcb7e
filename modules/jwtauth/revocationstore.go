package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

const (
	// revokedKey is the sorted set that holds all revocations in Redis, scored
	// by their end, and the channel that announces new ones. Other services
	// write it, too: docs/jwt_auth.md describes it.
	revokedKey = "fairway:jwt:revoked"

	// revokedFile holds all revocations in Caddy's storage.
	revokedFile = "fairway/jwt_auth/revoked.json"

	// revokedCheck is how often the list in Redis is compared in size, and old
	// entries are removed.
	revokedCheck = 30 * time.Second

	// slowTimeout bounds exchanges that no request waits for.
	slowTimeout = 10 * time.Second

	// loadPatience is how long a config load waits for storage, and then for Redis:
	// a gateway that starts knows from its first request on what was revoked while
	// it was not there, unless they are far slower than usual.
	loadPatience = time.Second

	// saveEvery is how soon storage has what this gateway has heard, and with that
	// what it still knows after a crash, without Redis.
	saveEvery = time.Second

	// saveShare bounds the part of the time that is spent on writing a long list.
	saveShare = 20
)

// storePool keeps revocations over reloads, by the Redis and storage used.
var storePool = caddy.NewUsagePool()

type storeID struct {
	redis   *gateway.Redis
	storage string
}

// revocationStore is what is revoked, kept in memory, in Redis if there is one,
// and in Caddy's storage. Redis tells all nodes; the storage makes revocations
// survive a restart without Redis.
type revocationStore struct {
	*revocations
	redis   *gateway.Redis // nil without
	storage certmagic.Storage
	logger  *zap.Logger

	saving sync.Mutex // one writer to storage at a time
	unsent bool       // storage lacks something; guarded by saving

	compared int64 // size of the list in Redis when it was last looked at; for keep alone

	cancel context.CancelFunc
	done   sync.WaitGroup
	unsub  func()
}

// openStore takes the store out of the pool or makes it.
func openStore(r *gateway.Redis, storage certmagic.Storage) (*revocationStore, storeID, error) {
	id := storeID{redis: r, storage: describeStorage(storage)}
	v, _, err := storePool.LoadOrNew(id, func() (caddy.Destructor, error) {
		s := &revocationStore{revocations: newRevocations(), redis: r, storage: storage, logger: logger()}
		s.start()
		return s, nil
	})
	if err != nil {
		return nil, id, err
	}
	return v.(*revocationStore), id, nil
}

// describeStorage names a storage so that two configs with the same one share
// their revocations.
func describeStorage(s certmagic.Storage) string {
	if named, ok := s.(fmt.Stringer); ok {
		return named.String()
	}
	return fmt.Sprintf("%T", s)
}

func (s *revocationStore) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	loaded := make(chan struct{})
	s.done.Go(func() {
		defer close(loaded)
		s.load(ctx)
	})
	select { // storage is a folder by default; one far away must not hold up a load
	case <-loaded:
	case <-time.After(loadPatience):
	}
	if s.redis != nil {
		first, enough := context.WithTimeout(ctx, loadPatience)
		s.resync(first)
		enough()
		s.unsub = s.redis.Subscribe(revokedKey, s.announced, func() { s.resync(ctx) })
	}
	s.done.Go(func() { s.keep(ctx) })
}

// Destruct stops the store. The UsagePool calls it.
func (s *revocationStore) Destruct() error {
	s.cancel()
	if s.unsub != nil {
		s.unsub()
	}
	s.done.Wait()
	return s.flush()
}

// load reads what was kept over the restart. Without Redis that is all there is
// to know.
func (s *revocationStore) load(ctx context.Context) {
	if err := s.readStorage(ctx); err != nil {
		s.logger.Error("revocations kept in storage cannot be read", zap.String("file", revokedFile), zap.Error(err))
		return
	}
	s.known.Store(s.redis == nil)
}

func (s *revocationStore) readStorage(ctx context.Context) error {
	if s.storage == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, slowTimeout)
	defer cancel()
	b, err := s.storage.Load(ctx, revokedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.readAll(b)
}

// savedRevocation is the form in storage.
type savedRevocation struct {
	Until  int64  `json:"until"`
	Member string `json:"member"`
}

func (s *revocationStore) readAll(b []byte) error {
	var saved []savedRevocation
	if err := json.Unmarshal(b, &saved); err != nil {
		return err
	}
	var failed []error
	over := time.Now().Add(-maxLeeway).Unix()
	for _, entry := range saved {
		if entry.Until < over {
			continue
		}
		rev, err := parseRevocation(entry.Member, entry.Until)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		s.add(rev)
	}
	return errors.Join(failed...)
}

// save writes all revocations to storage, with those that another gateway with
// the same storage has written there.
func (s *revocationStore) save() error {
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.storage == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), slowTimeout)
	defer cancel()
	if b, err := s.storage.Load(ctx, revokedFile); err == nil {
		if err := s.readAll(b); err != nil {
			s.logger.Error("revocations kept in storage cannot be read and are written anew", zap.String("file", revokedFile), zap.Error(err))
		}
	}
	all := s.all()
	saved := make([]savedRevocation, len(all))
	for i, rev := range all {
		saved[i] = savedRevocation{Until: rev.until, Member: rev.member()}
	}
	b, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	err = s.storage.Store(ctx, revokedFile, b)
	s.unsent = err != nil
	return err
}

// flush saves if something changed since the last time.
func (s *revocationStore) flush() error {
	s.saving.Lock()
	unsent := s.unsent
	s.saving.Unlock()
	if !unsent {
		return nil
	}
	return s.save()
}

// learned takes a revocation in. It counts and marks what is new.
func (s *revocationStore) learned(rev revocation) {
	if !s.add(rev) {
		return
	}
	revokedTotal.Inc()
	s.saving.Lock()
	s.unsent = true
	s.saving.Unlock()
}

// revoke takes effect on this node at once, and says whether Redis has it, so
// that all other nodes do. What Redis does not take now it gets when it is back.
func (s *revocationStore) revoke(ctx context.Context, rev revocation) (shared bool, err error) {
	s.learned(rev)
	if s.redis != nil {
		if err := s.send(ctx, rev); err == nil {
			return true, nil
		}
		s.logger.Warn("redis did not take a revocation; it is kept here until it does")
	}
	if err := s.save(); err != nil {
		return false, fmt.Errorf("revoked on this node until it restarts; writing to storage: %w", err)
	}
	return false, nil
}

func (s *revocationStore) send(ctx context.Context, rev revocation) error {
	return s.redis.Do(ctx, func(ctx context.Context, c redis.Cmdable) error {
		if err := c.ZAdd(ctx, revokedKey, rev.scored()).Err(); err != nil {
			return err
		}
		return c.Publish(ctx, revokedKey, rev.message()).Err()
	})
}

func (r revocation) scored() redis.Z {
	return redis.Z{Score: float64(r.until), Member: r.member()}
}

// announced takes a message of the channel.
func (s *revocationStore) announced(message string) {
	rev, err := parseRevocationMessage(message)
	if err != nil {
		s.logger.Warn("a message on the revocation channel is malformed", zap.Int("bytes", len(message)))
		return
	}
	s.learned(rev)
}

// resync reads all revocations from Redis and gives it those it lacks: written
// while it was away, or lost by it.
func (s *revocationStore) resync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 6*slowTimeout)
	defer cancel()
	seen, err := s.readRedis(ctx)
	if err == nil {
		s.known.Store(true)
		err = s.fillRedis(ctx, seen)
	}
	if err != nil && ctx.Err() == nil {
		s.logger.Warn("reading revocations from redis failed", zap.Error(err))
	}
}

func (s *revocationStore) readRedis(ctx context.Context) (seen map[string]bool, err error) {
	seen = map[string]bool{}
	malformed := 0
	now := time.Now().Add(-maxLeeway).Unix()
	iter := s.redis.Client().ZScan(ctx, revokedKey, 0, "", 1000).Iterator()
	for iter.Next(ctx) {
		member := iter.Val()
		if !iter.Next(ctx) {
			break
		}
		score, err := strconv.ParseFloat(iter.Val(), 64)
		rev, parseErr := parseRevocation(member, int64(min(score, float64(latest/1000)))) // +inf: for ever
		if err != nil || parseErr != nil {
			malformed++
			continue
		}
		if rev.until < now {
			continue
		}
		seen[member] = true
		s.learned(rev)
	}
	if malformed > 0 {
		s.logger.Warn("redis holds members that are no revocations; they revoke nothing",
			zap.String("key", revokedKey), zap.Int("members", malformed))
	}
	return seen, iter.Err()
}

func (s *revocationStore) fillRedis(ctx context.Context, seen map[string]bool) error {
	var missing []redis.Z
	for _, rev := range s.all() {
		if !seen[rev.member()] {
			missing = append(missing, rev.scored())
		}
	}
	for len(missing) > 0 {
		n := min(len(missing), 1000)
		if err := s.redis.Client().ZAdd(ctx, revokedKey, missing[:n]...).Err(); err != nil {
			return err
		}
		missing = missing[n:]
	}
	return nil
}

// keep writes what is new to storage, forgets what has expired, and compares with
// Redis now and then, until the store ends.
func (s *revocationStore) keep(ctx context.Context) {
	look := time.NewTicker(revokedCheck)
	defer look.Stop()
	save := time.NewTimer(saveEvery)
	defer save.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-save.C:
			save.Reset(s.flushed())
		case now := <-look.C:
			s.sweep(now)
			if s.redis == nil && !s.known.Load() { // storage could not be read so far
				s.load(ctx)
			}
			s.compare(ctx, now)
		}
	}
}

// flushed flushes and returns how long to wait before doing so again: longer if it
// did not work, or took its time.
func (s *revocationStore) flushed() time.Duration {
	begun := time.Now()
	if err := s.flush(); err != nil {
		s.logger.Error("writing revocations to storage failed", zap.Error(err))
		return revokedCheck
	}
	return max(saveEvery, saveShare*time.Since(begun))
}

// compare resyncs if Redis holds another number of entries than last time, for a
// message can be lost without the connection being so.
func (s *revocationStore) compare(ctx context.Context, now time.Time) {
	if s.redis == nil || !s.redis.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, slowTimeout)
	defer cancel()
	old := strconv.FormatInt(now.Add(-maxLeeway).Unix(), 10)
	s.redis.Client().ZRemRangeByScore(ctx, revokedKey, "-inf", "("+old)
	n, err := s.redis.Client().ZCard(ctx, revokedKey).Result()
	if err == nil && n != s.compared {
		s.compared = n
		s.resync(ctx)
	}
}

func revokedUsage() (tokens, subjects int) {
	storePool.Range(func(_, v any) bool {
		t, sub := v.(*revocationStore).sizes()
		tokens, subjects = tokens+t, subjects+sub
		return true
	})
	return tokens, subjects
}
