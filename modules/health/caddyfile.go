package health

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterDirective("health", parseCaddyfile)
}

// parseCaddyfile handles the matcher itself, because a `health` without one
// would answer every request of the site.
func parseCaddyfile(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // consume "health"
	matcher, ok, err := h.MatcherToken()
	if err != nil {
		return nil, err
	}
	if !ok || matcher == nil {
		return nil, h.Err("health: want a path such as /health, or a matcher, to answer on")
	}
	handler := &Handler{Name: h.Val()}
	if err := handler.unmarshalBlock(h.Dispenser); err != nil {
		return nil, err
	}
	return h.NewRoute(matcher, handler), nil
}

// unmarshalBlock reads what follows the matcher:
//
//	health <matcher> {
//		live
//		redis {
//			timeout  <duration>
//			required
//		}
//		upstream <name> <url>|off {
//			timeout  <duration>
//			optional
//		}
//		http <name> <url>|off {
//			timeout  <duration>
//			optional
//		}
//		disk <name> <path> {
//			min_free <size>|<percent>%
//			timeout  <duration>
//			optional
//		}
//		breakers {
//			required
//		}
//		keys {
//			optional
//		}
//		details private_ranges|<ranges...>
//	}
func (h *Handler) unmarshalBlock(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch kind := d.Val(); kind {
		case "live":
			if h.Live {
				return d.Err("health: live is given twice")
			}
			h.Live = true
			if d.NextArg() {
				return d.ArgErr()
			}
		case "redis", "upstream", "http", "disk", "breakers", "keys":
			c := Check{Kind: kind}
			if err := c.unmarshalCaddyfile(d); err != nil {
				return err
			}
			h.Checks = append(h.Checks, c)
		case "details":
			if h.Details != nil {
				return d.Err("health: details is given twice")
			}
			if h.Details = ranges(d.RemainingArgs()); len(h.Details) == 0 {
				return d.ArgErr()
			}
		default:
			return d.Errf("health: unknown option %q", kind)
		}
	}
	return nil
}

func (c *Check) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	switch c.Kind {
	case "upstream", "http":
		if !d.Args(&c.Name, &c.URL) {
			return d.ArgErr()
		}
	case "disk":
		if !d.Args(&c.Name, &c.Path) {
			return d.ArgErr()
		}
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "timeout":
			if err := c.unmarshalTimeout(d); err != nil {
				return err
			}
		case "required", "optional":
			needed := option == "required"
			if c.Needed != nil {
				return d.Errf("health: %s: %s follows another required or optional", c.Kind, option)
			}
			c.Needed = &needed
			if d.NextArg() {
				return d.ArgErr()
			}
		case "min_free":
			if err := c.unmarshalMinFree(d); err != nil {
				return err
			}
		default:
			return d.Errf("health: %s: unknown option %q", c.Kind, option)
		}
	}
	return nil
}

func (c *Check) unmarshalTimeout(d *caddyfile.Dispenser) error {
	var value string
	if c.Timeout != 0 {
		return d.Errf("health: %s: timeout is given twice", c.Kind)
	}
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	t, err := caddy.ParseDuration(value)
	if err != nil || t <= 0 {
		return d.Errf("health: %s: timeout %q: want a duration such as 2s", c.Kind, value)
	}
	c.Timeout = caddy.Duration(t)
	return nil
}

func (c *Check) unmarshalMinFree(d *caddyfile.Dispenser) error {
	if c.Kind != "disk" {
		return d.Errf("health: %s: unknown option %q", c.Kind, d.Val())
	}
	if c.MinFree != "" {
		return d.Err("health: disk: min_free is given twice")
	}
	if !d.AllArgs(&c.MinFree) {
		return d.ArgErr()
	}
	if _, err := newDiskCheck(c.Path, c.MinFree); err != nil {
		return d.Errf("health: disk: %v", err)
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
