package cache

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fairway", Subsystem: "cache", Name: "requests_total",
		Help: "Requests by what the cache did with them: hit, stale, revalidated, collapsed, miss, bypass, refused.",
	}, []string{"outcome"})

	bytesServed = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "fairway", Subsystem: "cache", Name: "served_bytes_total",
		Help: "Bytes of bodies that were answered from the cache.",
	})

	stores = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fairway", Subsystem: "cache", Name: "fills_total",
		Help: "Responses of the origin by what became of them: stored, uncacheable, too_large, incomplete, purged.",
	}, []string{"result"})

	evictions = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "fairway", Subsystem: "cache", Name: "evictions_total",
		Help: "Entries that left memory for lack of space or by age.",
	})

	purges = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fairway", Subsystem: "cache", Name: "purges_total",
		Help: "Purges by kind: url, tag, prefix, all.",
	}, []string{"kind"})

	l2Seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "fairway", Subsystem: "cache", Name: "l2_duration_seconds",
		Help:    "Time of look-ups in Redis by result: hit, miss, error.",
		Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1},
	}, []string{"result"})
)

// outcome is what the cache did with a request.
type outcome uint8

const (
	outHit outcome = iota
	outStale
	outRevalidated
	outCollapsed
	outMiss
	outBypass
	outRefused
)

var outcomeText = [...]string{"hit", "stale", "revalidated", "collapsed", "miss", "bypass", "refused"}

// outcomeCounters are the children of requests, resolved once.
var outcomeCounters = func() (c [len(outcomeText)]prometheus.Counter) {
	for i, text := range outcomeText {
		c[i] = requests.WithLabelValues(text)
	}
	return c
}()

// The children of stores, resolved once.
var (
	fillsStored      = stores.WithLabelValues("stored")
	fillsUncacheable = stores.WithLabelValues("uncacheable")
	fillsTooLarge    = stores.WithLabelValues("too_large")
	fillsIncomplete  = stores.WithLabelValues("incomplete")
	fillsPurged      = stores.WithLabelValues("purged")
)

func collectors() []prometheus.Collector {
	return []prometheus.Collector{requests, bytesServed, stores, evictions, purges, l2Seconds}
}
