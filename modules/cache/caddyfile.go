package cache

import (
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("cache", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		handler := new(Handler)
		return handler, handler.UnmarshalCaddyfile(h.Dispenser)
	})
}

// UnmarshalCaddyfile reads the directive:
//
//	cache [<name>] {
//		ttl                    <duration>
//		stale_while_revalidate <duration>
//		stale_if_error         <duration>
//		stale_if_disconnected  <duration>|off
//		max_size               <size>
//		max_body               <size>
//		vary_limit             <count>
//		shared
//		key                    <placeholder...>
//		collapse_wait          <duration>|off
//		hit_for_miss           <duration>
//		fill_timeout           <duration>
//		tags_header            <field>
//		l2 off | {
//			ttl      <duration>
//			max_body <size>
//		}
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "cache"
	if d.NextArg() {
		h.Name = d.Val()
	}
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		option := d.Val()
		if seen[option] {
			return d.Errf("cache: %s is given twice", option)
		}
		seen[option] = true
		if err := h.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	durations := map[string]*caddy.Duration{
		"ttl": &h.TTL, "stale_while_revalidate": &h.StaleWhileRevalidate, "stale_if_error": &h.StaleIfError,
		"stale_if_disconnected": &h.StaleIfDisconnected, "collapse_wait": &h.CollapseWait,
		"hit_for_miss": &h.HitForMiss, "fill_timeout": &h.FillTimeout,
	}
	if to := durations[option]; to != nil {
		off := option == "stale_if_disconnected" || option == "collapse_wait"
		return unmarshalDuration(d, option, to, off)
	}
	switch option {
	case "max_size":
		return unmarshalSize(d, option, &h.MaxSize)
	case "max_body":
		return unmarshalSize(d, option, &h.MaxBody)
	case "vary_limit":
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return d.Errf("cache: vary_limit %q: want a positive number", value)
		}
		h.VaryLimit = n
		return nil
	case "shared":
		h.Shared = true
		return noMore(d)
	case "key":
		h.KeyExtra = d.RemainingArgs()
		if len(h.KeyExtra) == 0 {
			return d.ArgErr()
		}
		return nil
	case "tags_header":
		if !d.AllArgs(&h.TagsHeader) {
			return d.ArgErr()
		}
		return nil
	case "l2":
		h.L2 = new(L2)
		return h.L2.unmarshalCaddyfile(d)
	}
	return d.Errf("cache: unknown option %q", option)
}

func (l *L2) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		if d.Val() != "off" {
			return d.Errf("cache: l2 %q: want off or a block", d.Val())
		}
		l.Off = true
		return noMore(d)
	}
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("cache: l2: %s is given twice", option)
		}
		seen[option] = true
		var err error
		switch option {
		case "ttl":
			err = unmarshalDuration(d, "l2: ttl", &l.TTL, false)
		case "max_body":
			err = unmarshalSize(d, "l2: max_body", &l.MaxBody)
		default:
			err = d.Errf("cache: l2: unknown option %q", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func noMore(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

// unmarshalDuration reads a positive duration, or "off" where that is allowed.
func unmarshalDuration(d *caddyfile.Dispenser, option string, to *caddy.Duration, off bool) error {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	if off && value == "off" {
		*to = -1
		return nil
	}
	n, err := caddy.ParseDuration(value)
	if err != nil {
		return d.Errf("cache: %s %q: %v", option, value, err)
	}
	if n <= 0 {
		return d.Errf("cache: %s %q: must be positive", option, value)
	}
	*to = caddy.Duration(n)
	return nil
}

func unmarshalSize(d *caddyfile.Dispenser, option string, to *int64) error {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	n, err := humanize.ParseBytes(value)
	if err != nil || n == 0 || n > 1<<50 {
		return d.Errf("cache: %s %q: want a size such as 256MiB", option, value)
	}
	*to = int64(n)
	return nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
