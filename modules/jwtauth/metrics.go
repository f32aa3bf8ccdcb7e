package jwtauth

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	requestsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_jwt_auth_requests_total",
		Help: "Decisions by issuer (\"none\" if no configured one was named) and reason.",
	}, []string{"issuer", "reason"})
	cacheTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_jwt_auth_cache_total",
		Help: "Tokens whose signature was known to be good (hit) or had to be checked (miss).",
	}, []string{"result"})
	fetchesTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_jwt_auth_key_fetches_total",
		Help: "Fetches of key sets by source and result.",
	}, []string{"source", "result"})
	revokedTotal = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fairway_jwt_auth_revocations_total",
		Help: "Revocations this process learned of, from whomever.",
	})
)

// collectors are registered with every config's registry.
func collectors() []prometheus.Collector {
	return []prometheus.Collector{requestsTotal, cacheTotal, fetchesTotal, revokedTotal, stateCollector{}}
}

// outcomes are the counters of one handler, found once: a row per issuer, the
// last for requests that name none.
type outcomes struct {
	byIssuer  [][numReasons]prometheus.Counter
	hit, miss prometheus.Counter
}

func newOutcomes(issuers []*issuer) *outcomes {
	o := &outcomes{hit: cacheTotal.WithLabelValues("hit"), miss: cacheTotal.WithLabelValues("miss")}
	for _, is := range issuers {
		o.byIssuer = append(o.byIssuer, reasonCounters(is.name))
	}
	o.byIssuer = append(o.byIssuer, reasonCounters("none"))
	return o
}

func reasonCounters(issuer string) (row [numReasons]prometheus.Counter) {
	for reason := range numReasons {
		row[reason] = requestsTotal.WithLabelValues(issuer, reason.String())
	}
	return row
}

func (o *outcomes) count(d *Decision) {
	at := d.Issuer
	if at < 0 {
		at = len(o.byIssuer) - 1
	}
	o.byIssuer[at][d.Reason].Inc()
	switch {
	case d.Cached:
		o.hit.Inc()
	case d.Caller != nil:
		o.miss.Inc()
	}
}

// fetchMetrics are the counters of one key set.
type fetchMetrics struct{ success, failure prometheus.Counter }

func newFetchMetrics(source string) *fetchMetrics {
	return &fetchMetrics{
		success: fetchesTotal.WithLabelValues(source, "success"),
		failure: fetchesTotal.WithLabelValues(source, "failure"),
	}
}

var (
	keySetAge = prometheus.NewDesc("fairway_jwt_auth_key_set_age_seconds",
		"Time since a key set was last fetched successfully.", []string{"source"}, nil)
	keySetKeys = prometheus.NewDesc("fairway_jwt_auth_keys",
		"Usable keys of a key set.", []string{"source"}, nil)
	cacheBytes = prometheus.NewDesc("fairway_jwt_auth_cache_bytes",
		"Memory of all caches of verified tokens.", nil, nil)
	cacheEntries = prometheus.NewDesc("fairway_jwt_auth_cache_entries",
		"Verified tokens kept.", nil, nil)
	revokedEntries = prometheus.NewDesc("fairway_jwt_auth_revoked",
		"Revocations in force, of single tokens and of subjects.", []string{"kind"}, nil)
)

// stateCollector reads the state that outlives configs when it is asked.
type stateCollector struct{}

// Describe implements prometheus.Collector.
func (stateCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{keySetAge, keySetKeys, cacheBytes, cacheEntries, revokedEntries} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (stateCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	collectKeySets(gauge)
	entries, bytes := cacheUsage()
	gauge(cacheEntries, float64(entries))
	gauge(cacheBytes, float64(bytes))
	tokens, subjects := revokedUsage()
	gauge(revokedEntries, float64(tokens), "token")
	gauge(revokedEntries, float64(subjects), "subject")
}

// collectKeySets reports per source. Sets of one source that differ in their
// rules are told by the one that was fetched last.
func collectKeySets(gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	newest := map[string]time.Time{}
	count := map[string]int{}
	keySetPool.Range(func(_, v any) bool {
		s := v.(*keySet)
		source := s.refresher.label
		fetched := s.refresher.lastSuccess()
		if known, seen := newest[source]; !seen || fetched.After(known) {
			newest[source] = fetched
			count[source] = s.count()
		}
		return true
	})
	for source, fetched := range newest {
		if !fetched.IsZero() {
			gauge(keySetAge, time.Since(fetched).Seconds(), source)
		}
		gauge(keySetKeys, float64(count[source]), source)
	}
}
