package edge

import "github.com/prometheus/client_golang/prometheus"

var (
	requestIDs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_request_ids_total",
		Help: "Requests by where their id came from: made here, or taken from a trusted proxy.",
	}, []string{"origin"})
	requestIDsMade  = requestIDs.WithLabelValues("made")
	requestIDsTaken = requestIDs.WithLabelValues("taken")

	corsRequests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fairway_cors_requests_total",
		Help: "Requests of pages of other origins, by kind (preflight, actual) and whether the origin is allowed.",
	}, []string{"kind", "result"})
)
