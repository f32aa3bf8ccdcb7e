package validate

import "github.com/prometheus/client_golang/prometheus"

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_validate_requests_total",
		Help: "Requests by what became of them: passed, changed, skipped (an operation that is not checked), unknown (not in the document, passed), no_document (passed), or refused as invalid, malformed, too_large, unsupported_type, timeout, not_found, method_not_allowed, unavailable.",
	}, []string{"outcome"})

	answers = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_validate_responses_total",
		Help: "Responses by what became of them in shadow mode: valid, invalid, undeclared_status, undeclared_type, skipped (nothing in it can be checked), encoded, too_large, busy (too many at once), aborted, failed.",
	}, []string{"outcome"})

	refreshes = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_validate_openapi_refreshes_total",
		Help: "Attempts to fetch OpenAPI documents, by outcome: changed, unchanged, failed.",
	}, []string{"outcome"})

	duration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "fairway_validate_duration_seconds",
		Help:    "Time from the first look at a request to the decision, reading its body included.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .01, .05, .25, 1, 5},
	})
)

func collectors() []prometheus.Collector {
	return []prometheus.Collector{requests, duration, refreshes, answers}
}
