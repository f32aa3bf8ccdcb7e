// Package resilience keeps clients from noticing that an upstream fails. It has
// three parts, which know each other within one route:
//
//	resilience {
//		timeout 5s
//		bulkhead 200 queue 50 wait 100ms
//		fallback stale
//		fallback respond 503
//	}
//	reverse_proxy 127.0.0.1:8081 127.0.0.1:8082 {
//		lb_policy resilient {
//			policy least_conn
//			max_ejection 50%
//		}
//		transport resilient {
//			try_timeout 1s
//			breaker 5 failures open 60s
//			http {
//				dial_timeout 500ms
//			}
//		}
//	}
//
// The transport gives every upstream a breaker and every try a deadline; the
// selection policy leaves out upstreams whose breaker would refuse; the handler
// bounds the route and answers in the upstreams' place.
//
// The state of upstreams belongs to the process: a reload keeps it, and a config
// that is rejected leaves it alone. It is not shared between gateways, and not
// kept over a restart.
package resilience
