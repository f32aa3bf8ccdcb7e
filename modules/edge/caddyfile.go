package edge

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("request_id", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(RequestID)
		return handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads the directive:
//
//	request_id [<matcher>] {
//		header <name>
//		trust  private_ranges|<ranges...>
//	}
func (h *RequestID) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "request_id"
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "header":
			if h.Header != "" {
				return d.Err("request_id: header is given twice")
			}
			if !d.AllArgs(&h.Header) {
				return d.ArgErr()
			}
		case "trust":
			if h.Trust != nil {
				return d.Err("request_id: trust is given twice")
			}
			if h.Trust = ranges(d.RemainingArgs()); len(h.Trust) == 0 {
				return d.ArgErr()
			}
		default:
			return d.Errf("request_id: unknown option %q", d.Val())
		}
	}
	return nil
}

// ranges spells out the word private_ranges, as Caddy's own matchers do.
func ranges(args []string) []string {
	var all []string
	for _, arg := range args {
		if arg == "private_ranges" {
			all = append(all, caddyhttp.PrivateRangesCIDR()...)
			continue
		}
		all = append(all, arg)
	}
	return all
}

var _ caddyfile.Unmarshaler = (*RequestID)(nil)
