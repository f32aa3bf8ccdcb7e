package ratelimit

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	redisSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fairway_rate_limit_redis_seconds",
		Help:    "Time of calls that charge a key in Redis, failed ones too.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1},
	})
	leaseEvents = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fairway_rate_limit_lease_events",
		Help:    "Events that one call to Redis granted.",
		Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000},
	})

	decisionsDesc = prometheus.NewDesc("fairway_rate_limit_decisions_total",
		"Requests by rate-limit zone and outcome.", []string{"zone", "outcome"}, nil)
	sourcesDesc = prometheus.NewDesc("fairway_rate_limit_decided_by_total",
		"Requests by rate-limit zone and what decided about them.", []string{"zone", "by"}, nil)
	tripsDesc = prometheus.NewDesc("fairway_rate_limit_redis_calls_total",
		"Calls to Redis by rate-limit zone and result.", []string{"zone", "result"}, nil)
	keysDesc = prometheus.NewDesc("fairway_rate_limit_keys",
		"Keys that a rate-limit zone holds in this process.", []string{"zone"}, nil)
	evictionsDesc = prometheus.NewDesc("fairway_rate_limit_evictions_total",
		"Keys whose counts moved into a shared record because a zone's memory was full.", []string{"zone"}, nil)
)

func collectors() []prometheus.Collector {
	return []prometheus.Collector{redisSeconds, leaseEvents, zones}
}

// zones is what the metrics show: the zones of live configs. It reads their
// tallies when it is scraped, so a request pays for a few additions only.
var zones = &zoneCollector{shown: make(map[*state]shownZone)}

type zoneCollector struct {
	mu    sync.Mutex
	shown map[*state]shownZone
}

type shownZone struct {
	name string
	uses int
}

func (z *zoneCollector) show(name string, s *state) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.shown[s] = shownZone{name, z.shown[s].uses + 1}
}

func (z *zoneCollector) hide(s *state) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if e := z.shown[s]; e.uses > 1 {
		z.shown[s] = shownZone{e.name, e.uses - 1}
	} else {
		delete(z.shown, s)
	}
}

// Describe implements prometheus.Collector.
func (z *zoneCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{decisionsDesc, sourcesDesc, tripsDesc, keysDesc, evictionsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. States of one zone that differ in
// structure, while an old config is still finishing, are added up.
func (z *zoneCollector) Collect(ch chan<- prometheus.Metric) {
	z.mu.Lock()
	byName := make(map[string][]*state)
	for s, e := range z.shown {
		byName[e.name] = append(byName[e.name], s)
	}
	z.mu.Unlock()
	for name, states := range byName {
		collectZone(ch, name, states)
	}
}

func collectZone(ch chan<- prometheus.Metric, zone string, states []*state) {
	count := func(d *prometheus.Desc, of func(*state) uint64, labels ...string) {
		var sum uint64
		for _, s := range states {
			sum += of(s)
		}
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(sum), append([]string{zone}, labels...)...)
	}
	for o, name := range outcomeNames {
		count(decisionsDesc, func(s *state) uint64 { return s.tally.outcomes[o].Load() }, name)
	}
	for by, name := range sourceNames {
		count(sourcesDesc, func(s *state) uint64 { return s.tally.sources[by].Load() }, name)
	}
	count(tripsDesc, func(s *state) uint64 { return s.tally.trips.Load() - s.tally.failures.Load() }, "answered")
	count(tripsDesc, func(s *state) uint64 { return s.tally.failures.Load() }, "failed")
	count(evictionsDesc, func(s *state) uint64 { return s.memory.table.evicted.Load() + s.accounts.evicted.Load() })
	keys := 0
	for _, s := range states {
		keys += s.memory.table.size()
	}
	ch <- prometheus.MustNewConstMetric(keysDesc, prometheus.GaugeValue, float64(keys), zone)
}
