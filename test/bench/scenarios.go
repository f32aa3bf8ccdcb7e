package main

import "fmt"

// The parts of which the configs below are made. The words in capitals
// are filled in by lab.caddyfile.
const (
	respond = `	header Content-Type text/plain
	header Cache-Control "public, max-age=3600"
	respond "BODY"`

	plainProxy = `	reverse_proxy ORIGIN`

	cacheOn = `	cache {
		max_size 64MiB
	}
`
	wideLimit = `	rate_limit {
		zone bench {
			key %s
			events 1000000000
			window 15m
		}
	}
`
	resilientProxy = `	resilience {
		timeout 5s
		bulkhead 1000
		fallback respond 503
	}
	reverse_proxy ORIGIN {
		lb_policy resilient {
			policy least_conn
		}
		transport resilient {
			try_timeout 1s
			breaker 5 failures open 60s
		}
	}`
	resilientTransport = `	reverse_proxy ORIGIN {
		transport resilient {
			breaker 5 failures open 60s
		}
	}`
	schemaOn = `	validate {
		schema SCHEMA
	}
`
)

// cacheHit is what the answer to a warm URL must carry.
var cacheHit = [2]string{"Cache-Status", "hit"}

func limitBy(key string) string { return fmt.Sprintf(wideLimit, key) }

// inRoute keeps the order of the parts as written.
func inRoute(parts ...string) string {
	config := "\troute {\n"
	for _, p := range parts {
		config += p + "\n"
	}
	return config + "\t}"
}

// The two contenders that most scenarios share: Caddy and the gateway with
// their plain reverse_proxy, the first being the baseline.
const (
	caddyProxy = "caddy reverse_proxy"
	modulesOff = "fairway, modules off"
)

func proxyPair(r Request) []Contender {
	return []Contender{
		{Name: caddyProxy, Server: StockCaddy, Config: plainProxy, Request: r},
		{Name: modulesOff, Server: Fairway, Config: plainProxy, Request: r},
	}
}

// scenarios is the table of all that is measured. A new scenario is one more
// entry; a new contender is one more line in its list.
func scenarios() []Scenario {
	return append([]Scenario{
		hitScenario(), missScenario(), proxyScenario(), jwtScenario(), jwtUsersScenario(),
		limitScenario(), validateScenario(), chainScenario(), refusalScenario(),
		resilienceScenario(), brokenScenario(),
	}, append(cacheScenarios(), edgeScenarios()...)...)
}

func hitScenario() Scenario {
	const baseline = "caddy respond"
	return Scenario{
		Name:     "hit",
		Question: "a response from the cache, against Caddy answering the same bytes by itself",
		Baseline: baseline,
		Contenders: []Contender{
			{Name: "bare Go loop", Server: LoopAnswer},
			{Name: baseline, Server: StockCaddy, Config: respond},
			{Name: "fairway respond, modules off", Server: Fairway, Config: respond},
			{Name: "fairway cache", Server: Fairway, Config: inRoute(cacheOn, plainProxy), Want: Answer{Header: cacheHit}},
		},
	}
}

func missScenario() Scenario {
	unique := Request{Path: "/item", UniquePath: true}
	return Scenario{
		Name:     "miss",
		Question: "a response fetched from the origin, with a cache in the way (target: at most 1.10)",
		Baseline: caddyProxy,
		Contenders: append(proxyPair(unique),
			// A cache is full for most of its life; while it fills, its memory is new
			// to the process.
			Contender{Name: "fairway cache, stored, full", Server: Fairway, Config: inRoute("\tcache {\n\t\tmax_size 16MiB\n\t}", plainProxy), Request: unique},
			Contender{Name: "fairway cache, stored, filling", Server: Fairway, Config: inRoute(cacheOn, plainProxy), Request: unique},
			Contender{
				Name: "fairway cache, no-store", Server: Fairway, Config: inRoute(cacheOn, plainProxy),
				Request: Request{Path: "/no-store", UniquePath: true},
			},
		),
	}
}

func proxyScenario() Scenario {
	s := Scenario{
		Name:     "proxy",
		Question: "a proxied request, with and without resilience",
		Baseline: caddyProxy,
		Contenders: []Contender{
			{Name: "bare Go loop", Server: LoopProxy},
		},
	}
	s.Contenders = append(s.Contenders, proxyPair(Request{})...)
	s.Contenders = append(s.Contenders,
		Contender{Name: "fairway transport resilient", Server: Fairway, Config: resilientTransport},
		Contender{Name: "fairway resilience, all of it", Server: Fairway, Config: inRoute(resilientProxy)},
	)
	return s
}

func limitScenario() Scenario {
	const manyKeys = 10_000
	oneKey, byHeader := limitBy("{client_ip}"), limitBy("{header.X-Key}")
	s := Scenario{
		Name:       "limit",
		Question:   "a proxied request counted against a rate limit",
		Baseline:   caddyProxy,
		Contenders: proxyPair(Request{Keys: manyKeys}),
	}
	for _, redis := range []bool{false, true} {
		where := "memory"
		if redis {
			where = "redis"
		}
		s.Contenders = append(s.Contenders,
			Contender{
				Name: "fairway rate_limit, 1 key, " + where, Server: Fairway, Redis: redis,
				Config: inRoute(oneKey, plainProxy), Want: Answer{Header: [2]string{"RateLimit", "bench"}},
			},
			Contender{
				Name: "fairway rate_limit, 10k keys, " + where, Server: Fairway, Redis: redis,
				Config: inRoute(byHeader, plainProxy), Request: Request{Keys: manyKeys},
				Want: Answer{Header: [2]string{"RateLimit", "bench"}},
			},
		)
	}
	return s
}

func validateScenario() Scenario {
	post := Request{
		Method: "POST",
		Body:   `{"email":"ada@example.com","password":"a long enough one","name":"Ada Lovelace","age":36}`,
	}
	return Scenario{
		Name:     "validate",
		Question: "a proxied POST whose body is checked against a JSON Schema",
		Baseline: caddyProxy,
		Contenders: append(proxyPair(post), Contender{
			Name: "fairway validate", Server: Fairway, Config: inRoute(schemaOn, plainProxy), Request: post,
		}),
	}
}

func chainScenario() Scenario {
	auth := Request{Token: "RS256"}
	gate := jwtOn("RS256") + limitBy("{http.auth.user.id}")
	return Scenario{
		Name:     "chain",
		Question: "authentication, limit, cache and resilience in one pipeline",
		Baseline: caddyProxy,
		Contenders: append(proxyPair(auth),
			Contender{Name: "fairway jwt + limit + proxy", Server: Fairway, Config: inRoute(gate, plainProxy), Request: auth},
			Contender{
				Name: "fairway all, cache miss", Server: Fairway, Config: inRoute(gate, cacheOn, resilientProxy),
				Request: Request{Token: "RS256", Path: "/no-store"},
			},
			Contender{
				Name: "fairway all, cache hit", Server: Fairway,
				Config: inRoute(gate, cacheOn, resilientProxy), Request: auth, Want: Answer{Header: cacheHit},
			},
			Contender{
				Name: "fairway all, cache miss, redis", Server: Fairway, Redis: true,
				Config: inRoute(gate, cacheOn, resilientProxy), Request: Request{Token: "RS256", Path: "/no-store"},
			},
			Contender{
				Name: "fairway all, cache hit, redis", Server: Fairway, Redis: true,
				Config: inRoute(gate, cacheOn, resilientProxy), Request: auth, Want: Answer{Header: cacheHit},
			},
		),
	}
}

func refusalScenario() Scenario {
	const baseline = "caddy respond 401"
	unauthorized := Answer{Status: 401}
	refuse := inRoute(jwtOn("RS256"), plainProxy) + "\n\thandle_errors {\n\t\tproblem\n\t}"
	full := `	rate_limit {
		zone full {
			key {client_ip}
			events 1
			window 1h
		}
	}
`
	return Scenario{
		Name:     "refusal",
		Question: "a request that is turned away",
		Baseline: baseline,
		Contenders: []Contender{
			{Name: baseline, Server: StockCaddy, Config: "\trespond `{\"error\":\"Unauthorized\"}` 401", Want: unauthorized},
			{Name: "fairway 401, no token", Server: Fairway, Config: refuse, Want: unauthorized},
			{Name: "fairway 401, forged RS256", Server: Fairway, Config: refuse, Request: Request{Token: forged}, Want: unauthorized},
			{
				Name: "fairway 429, over the limit", Server: Fairway,
				Config: inRoute(full, plainProxy) + "\n\thandle_errors {\n\t\tproblem\n\t}", Want: Answer{Status: 429},
			},
		},
	}
}
