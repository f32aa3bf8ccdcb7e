package resilience

import (
	"strconv"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("resilience", parseHandler)
}

func parseHandler(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive:
//
//	resilience [<matcher>] {
//		name     <name>
//		breaker  [<n> failures] [error_rate <percent>] [slow <percent> over <duration>]
//		         [min <calls>] [window <duration>] [open <duration>] [probes <n>]
//		fail_on  <status|class|timeout|error>...
//		timeout  <duration>
//		bulkhead <max> [queue <n>] [wait <duration>]
//		priority <placeholder> {
//			high <value>...
//			low  <value>...
//		}
//		fallback stale
//		fallback upstream <address>
//		fallback respond [<status>] [<body> [<content type>]]
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume directive name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] && option != "fallback" {
			return d.Errf("resilience: %s is given twice", option)
		}
		seen[option] = true
		if err := h.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "name":
		if !d.AllArgs(&h.Name) {
			return d.ArgErr()
		}
		return nil
	case "breaker":
		h.Breaker = new(BreakerConfig)
		return h.Breaker.unmarshalCaddyfile(d)
	case "fail_on":
		if h.FailOn = d.RemainingArgs(); len(h.FailOn) == 0 {
			return d.ArgErr()
		}
		return nil
	case "timeout":
		return oneDuration(d, "resilience: timeout", &h.Timeout)
	case "bulkhead":
		h.Bulkhead = new(BulkheadConfig)
		return h.Bulkhead.unmarshalCaddyfile(d)
	case "priority":
		h.Priority = new(PriorityConfig)
		return h.Priority.unmarshalCaddyfile(d)
	case "fallback":
		f, err := parseFallback(d)
		if err != nil {
			return err
		}
		h.Fallbacks = append(h.Fallbacks, f)
		return nil
	}
	return d.Errf("resilience: unknown option %q", option)
}

func parseFallback(d *caddyfile.Dispenser) (Fallback, error) {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return Fallback{}, d.ArgErr()
	}
	f := Fallback{Kind: args[0]}
	args = args[1:]
	if f.Kind == fallbackRespond && len(args) > 0 {
		if n, err := strconv.Atoi(args[0]); err == nil {
			f.Status, args = n, args[1:]
		}
		for _, to := range []*string{&f.Body, &f.ContentType} {
			if len(args) > 0 {
				*to, args = args[0], args[1:]
			}
		}
	}
	if f.Kind == fallbackUpstream && len(args) > 0 {
		f.Upstream, args = args[0], args[1:]
	}
	if len(args) > 0 {
		return f, d.Errf("resilience: fallback: unexpected %q", args[0])
	}
	if err := f.validate(); err != nil {
		return f, d.Errf("resilience: %v", err)
	}
	return f, nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
