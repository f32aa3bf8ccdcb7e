package health

import "github.com/prometheus/client_golang/prometheus"

var (
	up = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "fairway_health_up",
		Help: "Whether a check passed when it last ran, by the name in the config.",
	}, []string{"check"})

	duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "fairway_health_check_duration_seconds",
		Help:    "Time a check took, by the name in the config.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .1, .5, 1, 2.5, 5},
	}, []string{"check"})
)
