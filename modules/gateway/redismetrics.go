package gateway

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

var (
	redisUp = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairway_redis_up",
		Help: "Whether Redis answered when it was last asked.",
	})
	redisRoundTrips = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fairway_redis_round_trip_seconds",
		Help:    "Time of exchanges with Redis. A batch of commands is one.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1},
	})
	redisErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_redis_errors_total",
		Help: "Calls that Redis did not answer, and calls not made because it was down.",
	}, []string{"reason"})
)

func redisCollectors() []prometheus.Collector {
	return []prometheus.Collector{redisUp, redisRoundTrips, redisErrors}
}

// roundTrips is the go-redis hook that measures every exchange.
type roundTrips struct{}

func (roundTrips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmd)
		redisRoundTrips.Observe(time.Since(start).Seconds())
		return err
	}
}

func (roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		start := time.Now()
		err := next(ctx, cmds)
		redisRoundTrips.Observe(time.Since(start).Seconds())
		return err
	}
}
