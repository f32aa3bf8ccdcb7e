package http

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what is counted of requests. Labels are from closed sets: the
// routes of this package, "other" for everything else.
type metrics struct {
	requests *prometheus.HistogramVec
	running  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairway_users_request_duration_seconds", Help: "How long requests took, by route and status.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}, []string{"route", "code"}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fairway_users_requests_running", Help: "Requests that are being answered.",
		}),
	}
	r.MustRegister(m.requests, m.running)
	return m
}

// observe counts a request that is over.
func (m *metrics) observe(c *call, status int, took time.Duration) {
	route := c.route
	if route == "" {
		route = "other"
	}
	m.requests.WithLabelValues(route, statusLabel(status)).Observe(took.Seconds())
}

// statusLabel keeps the label's set closed.
func statusLabel(status int) string {
	if http.StatusText(status) == "" {
		return "other"
	}
	return strconv.Itoa(status)
}
