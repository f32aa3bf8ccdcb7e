package edge

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("request_id", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(RequestID)
		return handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
	httpcaddyfile.RegisterHandlerDirective("cors", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(CORS)
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

// UnmarshalCaddyfile reads the directive:
//
//	cors [<matcher>] {
//		origins     <origins...>
//		methods     <methods...>
//		headers     <names...>
//		expose      <names...>
//		credentials
//		max_age     <duration>
//	}
func (c *CORS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "cors"
	if d.NextArg() {
		return d.ArgErr()
	}
	lists := map[string]*[]string{
		"origins": &c.Origins, "methods": &c.Methods, "headers": &c.Headers, "expose": &c.Expose,
	}
	seen := map[string]bool{}
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("cors: %s is given twice", option)
		}
		seen[option] = true
		switch {
		case lists[option] != nil:
			if *lists[option] = d.RemainingArgs(); len(*lists[option]) == 0 {
				return d.ArgErr()
			}
		case option == "credentials":
			c.Credentials = true
			if d.NextArg() {
				return d.ArgErr()
			}
		case option == "max_age":
			if err := c.unmarshalMaxAge(d); err != nil {
				return err
			}
		default:
			return d.Errf("cors: unknown option %q", option)
		}
	}
	if _, err := parseOrigins(c.Origins, c.Credentials); err != nil {
		return d.Errf("cors: %v", err)
	}
	return nil
}

func (c *CORS) unmarshalMaxAge(d *caddyfile.Dispenser) error {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	age, err := caddy.ParseDuration(value)
	if err != nil || age <= 0 {
		return d.Errf("cors: max_age %q: want a duration such as 10m", value)
	}
	c.MaxAge = caddy.Duration(age)
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

var (
	_ caddyfile.Unmarshaler = (*RequestID)(nil)
	_ caddyfile.Unmarshaler = (*CORS)(nil)
)
