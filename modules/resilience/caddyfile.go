package resilience

import (
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// UnmarshalCaddyfile reads the transport:
//
//	transport resilient {
//		name        <name>
//		try_timeout <duration>
//		breaker     off | [<n> failures] [error_rate <percent>] [slow <percent> over <duration>]
//		            [min <calls>] [window <duration>] [open <duration>] [probes <n>] [ramp <duration>]
//		fail_on     <status|class|timeout|error>...
//		retry       off | <max> [on <condition>...] [budget <percent>] [min <per second>] {
//			backoff <base> [<max>]
//			methods <method>...
//			idempotency_key
//			buffer  <size>
//		}
//		idle_timeout    <duration>
//		deadline_header <header>
//		fault {
//			abort    <status> <percent>
//			delay    <duration> <percent>
//			upstream <dial address>
//		}
//		hedge          <duration|percentile> [max <n>]
//		bulkhead       <max> [queue <n>] [wait <duration>]
//		adaptive_limit <min> <max> [queue <n>] [wait <duration>]
//		http {
//			<options of Caddy's http transport>
//		}
//	}
func (t *Transport) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume transport name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("transport resilient: %s is given twice", option)
		}
		seen[option] = true
		if err := t.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (t *Transport) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "name":
		if !d.AllArgs(&t.Name) {
			return d.ArgErr()
		}
	case "try_timeout":
		return oneDuration(d, option, &t.TryTimeout)
	case "breaker":
		t.Breaker = new(BreakerConfig)
		return t.Breaker.unmarshalCaddyfile(d)
	case "fail_on":
		t.FailOn = d.RemainingArgs()
		if len(t.FailOn) == 0 {
			return d.ArgErr()
		}
		if _, err := parseFailures(t.FailOn); err != nil {
			return d.Err(err.Error())
		}
	case "retry":
		t.Retry = new(RetryConfig)
		return t.Retry.unmarshalCaddyfile(d)
	case "hedge":
		t.Hedge = new(HedgeConfig)
		return t.Hedge.unmarshalCaddyfile(d)
	case "bulkhead":
		t.Bulkhead = new(BulkheadConfig)
		return t.Bulkhead.unmarshalCaddyfile(d)
	case "adaptive_limit":
		t.AdaptiveLimit = new(AdaptiveConfig)
		return t.AdaptiveLimit.unmarshalCaddyfile(d)
	case "idle_timeout":
		return oneDuration(d, option, &t.IdleTimeout)
	case "deadline_header":
		if !d.AllArgs(&t.DeadlineHeader) {
			return d.ArgErr()
		}
	case "fault":
		t.Fault = new(FaultConfig)
		return t.Fault.unmarshalCaddyfile(d)
	case "http":
		t.HTTP = new(reverseproxy.HTTPTransport)
		return t.HTTP.UnmarshalCaddyfile(d.NewFromNextSegment())
	default:
		return d.Errf("transport resilient: unknown option %q", option)
	}
	return nil
}

// UnmarshalCaddyfile reads the selection policy:
//
//	lb_policy resilient {
//		policy       <name> [<options of that policy>]
//		max_ejection <percent>
//	}
func (p *Policy) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume policy name
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch option := d.Val(); option {
		case "policy":
			if p.PolicyRaw != nil {
				return d.Err("lb_policy resilient: policy is given twice")
			}
			if err := p.unmarshalInner(d); err != nil {
				return err
			}
		case "max_ejection":
			if p.MaxEjection != nil {
				return d.Err("lb_policy resilient: max_ejection is given twice")
			}
			if err := p.unmarshalEjection(d); err != nil {
				return err
			}
		default:
			return d.Errf("lb_policy resilient: unknown option %q", option)
		}
	}
	return nil
}

func (p *Policy) unmarshalInner(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if name == "resilient" {
		return d.Errf("lb_policy resilient: policy must be another than %q", name)
	}
	id := "http.reverse_proxy.selection_policies." + name
	unm, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	selector, ok := unm.(reverseproxy.Selector)
	if !ok {
		return d.Errf("lb_policy resilient: policy %q (%T) does not select upstreams", name, unm)
	}
	p.PolicyRaw = caddyconfig.JSONModuleObject(selector, "policy", name, nil)
	return nil
}

func (p *Policy) unmarshalEjection(d *caddyfile.Dispenser) error {
	var s string
	if !d.AllArgs(&s) {
		return d.ArgErr()
	}
	share, err := ParsePercent(s)
	if err != nil {
		return d.Errf("lb_policy resilient: max_ejection: %v", err)
	}
	p.MaxEjection = &share
	return nil
}

var (
	_ caddyfile.Unmarshaler = (*Transport)(nil)
	_ caddyfile.Unmarshaler = (*Policy)(nil)
)
