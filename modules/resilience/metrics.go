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
		Help: "Tries made on upstreams, by how they ended: success, failure or neither (the client went away).",
	}, []string{"name", "outcome"})
	refusedTotal = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_resilience_refused_total",
		Help: "Requests that an open breaker did not let through to an upstream.",
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
		triesTotal, refusedTotal, transitionsTotal, fallbacksTotal, shedTotal, upstreamCollector{},
	}
}

// transportMetrics are one transport's counters, looked up once.
type transportMetrics struct {
	outcomes [3]prometheus.Counter
	to       [3]prometheus.Counter
	refused  prometheus.Counter
}

func metricsOf(name string) *transportMetrics {
	m := &transportMetrics{refused: refusedTotal.WithLabelValues(name)}
	for o, label := range []string{Neither: "neither", Success: "success", Failure: "failure"} {
		m.outcomes[o] = triesTotal.WithLabelValues(name, label)
	}
	for _, s := range []State{Closed, Open, HalfOpen} {
		m.to[s] = transitionsTotal.WithLabelValues(name, s.String())
	}
	return m
}

func (m *transportMetrics) count(o Outcome)     { m.outcomes[o].Inc() }
func (m *transportMetrics) transition(to State) { m.to[to].Inc() }

// upstreamCollector reads the live state of upstreams when it is scraped, so
// that an upstream which is forgotten leaves no series behind.
type upstreamCollector struct{}

var (
	breakerState = prometheus.NewDesc("fairway_resilience_breaker_state",
		"State of an upstream's breaker: 0 closed, 1 open, 2 half-open.", []string{"name", "upstream"}, nil)
	inFlight = prometheus.NewDesc("fairway_resilience_in_flight",
		"Tries under way on an upstream.", []string{"name", "upstream"}, nil)
)

// Describe implements prometheus.Collector.
func (upstreamCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- breakerState
	ch <- inFlight
}

// Collect implements prometheus.Collector.
func (upstreamCollector) Collect(ch chan<- prometheus.Metric) {
	groups.Range(func(_, v any) bool {
		g, ok := v.(*Group)
		if !ok {
			return true
		}
		for _, u := range g.list() {
			ch <- prometheus.MustNewConstMetric(breakerState, prometheus.GaugeValue, float64(u.breaker.State()), g.name, u.dial)
			ch <- prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(u.inFlight.Load()), g.name, u.dial)
		}
		return true
	})
}
