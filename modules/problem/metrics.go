package problem

import "github.com/prometheus/client_golang/prometheus"

var responses = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "fairway_problem_responses_total",
	Help: "Errors answered by the gateway itself, by class of status and stable code.",
}, []string{"status", "code"})
