package main

// resilienceScenario is the figure that docs/resilience.md names: what all of
// resilience adds to a proxied request while nothing fails.
func resilienceScenario() Scenario {
	everything := `	resilience {
		timeout 5s
		bulkhead 1000 queue 50 wait 100ms
		priority {header.X-Plan} {
			high pro
		}
		fallback stale
		fallback respond 503
	}
	reverse_proxy ORIGIN {
		lb_policy resilient {
			policy round_robin
		}
		transport resilient {
			try_timeout 1s
			breaker 5 failures error_rate 50% slow 50% over 1s min 20 open 60s
			retry 2 on connect reset timeout 502 503
			hedge 500ms
			adaptive_limit 100 1000 queue 50 wait 1s
		}
	}`
	return Scenario{
		Name:     "resilience",
		Question: "a proxied request with everything on: retries, hedge armed, breaker, limits, fallbacks (target: at most 1.10)",
		Baseline: modulesOff,
		Contenders: []Contender{
			{Name: modulesOff, Server: Fairway, Config: plainProxy},
			{Name: "fairway resilience, everything on", Server: Fairway, Config: everything},
		},
	}
}

// brokenScenario is what a client's answer costs while the breaker of the only
// upstream is open.
func brokenScenario() Scenario {
	const baseline = "caddy respond 503"
	broken := `	resilience {
		fallback respond 503 sorry
	}
	reverse_proxy 127.0.0.1:1 {
		lb_policy resilient
		transport resilient
	}`
	unavailable := Answer{Status: 503}
	return Scenario{
		Name:     "broken",
		Question: "the answer to a request whose upstreams are out (target: at most 100 µs)",
		Baseline: baseline,
		Contenders: []Contender{
			{Name: baseline, Server: StockCaddy, Config: "\trespond sorry 503", Want: unavailable},
			{Name: "fairway, breaker open", Server: Fairway, Config: inRoute(broken), Want: unavailable},
		},
	}
}
