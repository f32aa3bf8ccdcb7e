package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// ErrRedisDown is returned at once while Redis is known not to answer.
var ErrRedisDown = errors.New("redis is down")

const (
	// redisFailures is how many calls in a row must fail before Redis counts as
	// down: one lost connection is not an outage.
	redisFailures = 3

	redisProbeMin = 50 * time.Millisecond
	redisProbeMax = time.Second

	// neverHalfOpen keeps the breaker open until a probe closes it. Requests
	// are never used as probes: none shall wait for a Redis that is down.
	neverHalfOpen = 100 * 365 * 24 * time.Hour
)

func init() {
	redis.SetLogger(redisDebug{})
}

// redisPool keeps clients over reloads: two configs with the same settings
// share connections, the breaker and what it knows.
var redisPool = caddy.NewUsagePool()

// Redis is the client that all modules of a config share. It may be used by
// many goroutines.
type Redis struct {
	settings *redisSettings
	client   redis.UniversalClient
	hot      *redis.AutoPipeliner
	breaker  circuitbreaker.CircuitBreaker[any]

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	probing bool
	down    bool // what was last logged and shown
	changed time.Time
}

// openRedis takes a client out of the pool, or puts one in.
func openRedis(s *redisSettings) (*Redis, error) {
	v, _, err := redisPool.LoadOrNew(s.key, func() (caddy.Destructor, error) {
		return newRedis(s)
	})
	if err != nil {
		return nil, err
	}
	return v.(*Redis), nil
}

func newRedis(s *redisSettings) (*Redis, error) {
	client := redis.NewUniversalClient(s.options)
	client.AddHook(roundTrips{})
	hot, err := client.AutoPipeline()
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	r := &Redis{settings: s, client: client, hot: hot, changed: time.Now()}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.breaker = circuitbreaker.NewBuilder[any]().
		WithFailureThreshold(redisFailures).
		WithDelay(neverHalfOpen).
		Build()
	redisUp.Set(1)
	r.probeSoon()
	return r, nil
}

// release gives the client back; the last config to do so closes it.
func (r *Redis) release() error {
	_, err := redisPool.Delete(r.settings.key)
	return err
}

// Destruct closes the client. The UsagePool calls it.
func (r *Redis) Destruct() error {
	r.cancel()
	r.wg.Wait()
	return errors.Join(r.hot.Close(), r.client.Close())
}

// Timeout is the longest that a call may take.
func (r *Redis) Timeout() time.Duration { return r.settings.timeout }

// Client returns the plain client, for what does not fit into Do: subscriptions,
// administration. It does not ask the breaker.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// Hot returns the client that gathers the commands of concurrent callers into
// one round trip, for work within a request. Use it inside Do.
func (r *Redis) Hot() redis.Cmdable { return r.hot }

// Up reports whether Redis answered when it was last asked.
func (r *Redis) Up() bool { return r.breaker.IsClosed() }

// Do calls fn with the client for hot paths. It returns ErrRedisDown without
// calling fn while Redis is down, and counts what fn returns: a reply of Redis
// is a success even if it is an error reply, and a caller that gave up is
// neither. fn must not do more than one exchange if it is to keep within
// Timeout.
func (r *Redis) Do(ctx context.Context, fn func(ctx context.Context, c redis.Cmdable) error) error {
	if !r.breaker.IsClosed() {
		redisErrors.WithLabelValues("down").Inc()
		return ErrRedisDown
	}
	err := fn(ctx, r.hot)
	r.record(ctx, err)
	return err
}

// record tells the breaker how an exchange ended.
func (r *Redis) record(ctx context.Context, err error) {
	switch {
	case err == nil, isReply(err):
		r.breaker.RecordSuccess()
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
	default:
		redisErrors.WithLabelValues("failed").Inc()
		r.breaker.RecordFailure()
		r.learnTopology(ctx)
		if r.breaker.IsOpen() {
			r.probeSoon()
		}
	}
}

// learnTopology asks a Cluster, in the background, who its masters are: one of
// them failed, and by itself go-redis may take a minute to find the new one. It
// does nothing while it is asking already.
func (r *Redis) learnTopology(ctx context.Context) {
	if cluster, ok := r.client.(*redis.ClusterClient); ok {
		cluster.ReloadState(ctx)
	}
}

// isReply tells an answer of Redis, even an unwelcome one, from the lack of one.
// A server that loads its data, lost its master or cannot take writes is no use.
func isReply(err error) bool {
	if errors.Is(err, redis.Nil) {
		return true
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	for _, unusable := range []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH", "WRONGPASS", "NOPERM", "MISCONF", "OOM"} {
		if strings.HasPrefix(reply.Error(), unusable) {
			return false
		}
	}
	return true
}

// probeSoon starts the goroutine that asks Redis until it answers, unless it is
// running already.
func (r *Redis) probeSoon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probing || r.ctx.Err() != nil {
		return
	}
	r.probing = true
	r.wg.Go(r.probe)
}

// probe pings Redis until it answers. At the start of a client the breaker is
// still closed: the first ping then only decides whether to warn.
func (r *Redis) probe() {
	wait := redisProbeMin
	for {
		err := r.ping()
		if err == nil {
			r.setUp()
			return
		}
		r.setDown(err)
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, redisProbeMax)
	}
}

// ping writes and deletes nothing: a server that answers PING may still refuse
// writes, but then calls fail and the breaker opens again.
func (r *Redis) ping() error {
	ctx, cancel := context.WithTimeout(r.ctx, max(r.settings.timeout, redisProbeMin))
	defer cancel()
	return r.client.Ping(ctx).Err()
}

func (r *Redis) setUp() {
	r.mu.Lock()
	r.probing = false
	r.breaker.Close()
	healed := r.note(false)
	r.mu.Unlock()
	if healed {
		redisLog().Info("redis answers again", zap.String("redis", r.settings.display))
	}
}

func (r *Redis) setDown(err error) {
	if r.ctx.Err() != nil {
		return
	}
	r.breaker.Open()
	r.mu.Lock()
	lost := r.note(true)
	r.mu.Unlock()
	if lost {
		redisLog().Warn("redis does not answer; going on without",
			zap.String("redis", r.settings.display), zap.Error(err))
	}
}

// note keeps what the world is told and reports whether it changed. The caller
// holds the lock.
func (r *Redis) note(down bool) (changed bool) {
	if r.down == down {
		return false
	}
	r.down, r.changed = down, time.Now()
	if down {
		redisUp.Set(0)
	} else {
		redisUp.Set(1)
	}
	return true
}

// redisLog is the process's logger: the client outlives the config, and with it
// the logger, that opened it.
func redisLog() *zap.Logger { return caddy.Log().Named("fairway.redis") }

// redisDebug takes what go-redis would print by itself, a line for every failed
// dial. Outages are told once, by the client.
type redisDebug struct{}

func (redisDebug) Printf(_ context.Context, format string, v ...any) {
	if entry := redisLog().Check(zap.DebugLevel, "go-redis"); entry != nil {
		entry.Write(zap.String("detail", fmt.Sprintf(format, v...)))
	}
}

// Kind is "redis".
func (r *Redis) Kind() string { return "redis" }

// Name is the URL without its secrets.
func (r *Redis) Name() string { return r.settings.display }

// Snapshot says whether Redis answers, since when, and how the pool is used.
func (r *Redis) Snapshot() any {
	r.mu.Lock()
	since := r.changed
	r.mu.Unlock()
	pool := r.client.PoolStats()
	return map[string]any{
		"up":                r.Up(),
		"since":             since.UTC().Format(time.RFC3339),
		"timeout":           r.settings.timeout.String(),
		"connections":       pool.TotalConns,
		"connections_idle":  pool.IdleConns,
		"connections_stale": pool.StaleConns,
	}
}

var _ Part = (*Redis)(nil)
