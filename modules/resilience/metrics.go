package resilience

import (
	"github.com/prometheus/client_golang/prometheus"
)

// The names of transports and handlers, and the addresses of upstreams, come
// from the config or DNS; no label comes from a request, except the addresses
// that a config takes from a placeholder, and those are bounded.
var (
	triesTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_tries_total",
		Help: "Tries made on upstreams, and requests to routes with a breaker, by how they ended: success, failure or neither (the client went away).",
	}, []string{"name", "outcome"})
	refusedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_refused_total",
		Help: "Tries and requests that were turned down, by the reason: open (the breaker) or full (the bulkhead).",
	}, []string{"name", "reason"})
	retriesTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_retries_total",
		Help: "Retries out of the budget, by what they followed: connect, reset, timeout or status.",
	}, []string{"name", "after"})
	hedgesTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_hedges_total",
		Help: "Hedges, by whether theirs was the answer used: won or lost.",
	}, []string{"name", "outcome"})
	exhaustedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_budget_exhausted_total",
		Help: "Retries and hedges that the budget did not allow.",
	}, []string{"name"})
	transitionsTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_breaker_transitions_total",
		Help: "Changes of breakers to a state.",
	}, []string{"name", "to"})
	fallbacksTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_fallbacks_total",
		Help: "Responses that a fallback gave, by its kind.",
	}, []string{"kind"})
	shedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_shed_total",
		Help: "Requests that a route's bulkhead refused, by the reason: full or wait.",
	}, []string{"reason"})
)

func collectors() []prometheus.Collector {
	return []prometheus.Collector{
		triesTotal, refusedTotal, retriesTotal, hedgesTotal, exhaustedTotal, transitionsTotal,
		fallbacksTotal, shedTotal,
		upstreamCollector{},
	}
}

// Reasons why a try was not sent.
const (
	whyOpen = "its breaker is open"
	whyFull = "it has too many requests already"
)

// breakerMetrics are the counters of one transport's breakers or of a route's,
// looked up once.
type breakerMetrics struct {
	outcomes [3]prometheus.Counter
	to       [3]prometheus.Counter
	refused  map[string]prometheus.Counter // by the reason
}

func breakerMetricsOf(name string) breakerMetrics {
	m := breakerMetrics{refused: map[string]prometheus.Counter{
		whyOpen: refusedTotal.WithLabelValues(name, "open"),
		whyFull: refusedTotal.WithLabelValues(name, "full"),
	}}
	for o, label := range []string{Neither: "neither", Success: "success", Failure: "failure"} {
		m.outcomes[o] = triesTotal.WithLabelValues(name, label)
	}
	for _, s := range []State{Closed, Open, HalfOpen} {
		m.to[s] = transitionsTotal.WithLabelValues(name, s.String())
	}
	return m
}

// transportMetrics are one transport's counters of extra tries.
type transportMetrics struct {
	retries   [kinds]prometheus.Counter   // by what they followed
	hedges    map[bool]prometheus.Counter // by whether they won
	exhausted prometheus.Counter
}

func metricsOf(name string) *transportMetrics {
	m := &transportMetrics{
		hedges: map[bool]prometheus.Counter{
			true:  hedgesTotal.WithLabelValues(name, "won"),
			false: hedgesTotal.WithLabelValues(name, "lost"),
		},
		exhausted: exhaustedTotal.WithLabelValues(name),
	}
	for _, k := range []kind{connect, reset, timeout, badStatus} {
		m.retries[k] = retriesTotal.WithLabelValues(name, k.String())
	}
	return m
}

// upstreamCollector reads the live state of upstreams when it is scraped, so
// that an upstream which is forgotten leaves no series behind.
type upstreamCollector struct{}

var (
	breakerState = prometheus.NewDesc("fairway_resilience_breaker_state",
		"State of an upstream's breaker: 0 closed, 1 open, 2 half-open.", []string{"name", "upstream"}, nil)
	inFlight = prometheus.NewDesc("fairway_resilience_in_flight",
		"Tries under way on an upstream.", []string{"name", "upstream"}, nil)
	queueDepth = prometheus.NewDesc("fairway_resilience_queue_depth",
		"Requests that wait for a place in the bulkhead of an upstream or of a named route.", []string{"name", "upstream"}, nil)
	placesLimit = prometheus.NewDesc("fairway_resilience_limit",
		"Places in the bulkhead of an upstream, fixed or adaptive, or of a named route.", []string{"name", "upstream"}, nil)
)

// Describe implements prometheus.Collector.
func (upstreamCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- breakerState
	ch <- inFlight
	ch <- queueDepth
	ch <- placesLimit
}

// Collect implements prometheus.Collector.
func (upstreamCollector) Collect(ch chan<- prometheus.Metric) {
	groups.Range(func(_, v any) bool {
		g, ok := v.(*Group)
		if !ok {
			return true
		}
		for _, u := range g.list() {
			gauge := func(desc *prometheus.Desc, v float64) {
				ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, g.name, u.dial)
			}
			gauge(breakerState, float64(u.breaker.State()))
			gauge(inFlight, float64(u.inFlight.Load()))
			if b := u.bulkhead.Load(); b != nil {
				_, waiting, places := b.Depth()
				gauge(queueDepth, float64(waiting))
				gauge(placesLimit, float64(places))
			}
		}
		return true
	})
}
