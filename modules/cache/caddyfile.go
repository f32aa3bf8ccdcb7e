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
//		key [<value...>] {
//			value   <placeholder...>
//			header  <name...>
//			cookie  <name...>
//			query   only|without <parameter...> | sort | off
//			host    off
//		}
//		bypass {
//			<matcher> ...
//		}
//		methods                <method...>
//		statuses               <code...>
//		ignore_request_control
//		force_ttl              <duration>
//		store_set_cookie
//		collapse_wait          <duration>|off
//		hit_for_miss           <duration>
//		fill_timeout           <duration>
//		tags_header            <field>
//		l2 off | {
//			ttl      <duration>
//			max_body <size>
//			lock     <duration>
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
		if seen[option] && option != "bypass" {
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
		"stale_if_disconnected": &h.StaleIfDisconnected, "collapse_wait": &h.CollapseWait, "force_ttl": &h.ForceTTL,
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
		return unmarshalCount(d, option, &h.VaryLimit)
	case "shared":
		h.Shared = true
		return noMore(d)
	case "ignore_request_control":
		h.IgnoreRequestControl = true
		return noMore(d)
	case "store_set_cookie":
		h.StoreSetCookie = true
		return noMore(d)
	case "tags_header":
		if !d.AllArgs(&h.TagsHeader) {
			return d.ArgErr()
		}
		return nil
	case "key":
		h.Key = &Key{Values: d.RemainingArgs()}
		return h.Key.unmarshalCaddyfile(d)
	case "l2":
		h.L2 = new(L2)
		return h.L2.unmarshalCaddyfile(d)
	}
	return h.unmarshalLists(d, option)
}

func (h *Handler) unmarshalLists(d *caddyfile.Dispenser, option string) error {
	switch option {
	case "bypass":
		matchers, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
		if err != nil {
			return err
		}
		if len(matchers) == 0 {
			return d.Err("cache: bypass: want a block of matchers")
		}
		h.BypassRaw = append(h.BypassRaw, matchers)
		return nil
	case "methods":
		h.Methods = d.RemainingArgs()
		if len(h.Methods) == 0 {
			return d.ArgErr()
		}
		return nil
	case "statuses":
		for d.NextArg() {
			status, err := strconv.Atoi(d.Val())
			if err != nil {
				return d.Errf("cache: statuses %q: want status codes", d.Val())
			}
			h.Statuses = append(h.Statuses, status)
		}
		if len(h.Statuses) == 0 {
			return d.ArgErr()
		}
		return nil
	}
	return d.Errf("cache: unknown option %q", option)
}

func (k *Key) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	empty := len(k.Values) == 0
	for nesting := d.Nesting(); d.NextBlock(nesting); empty = false {
		option, args := d.Val(), d.RemainingArgs()
		if len(args) == 0 {
			return d.ArgErr()
		}
		switch option {
		case "value":
			k.Values = append(k.Values, args...)
		case "header":
			k.Headers = append(k.Headers, args...)
		case "cookie":
			k.Cookies = append(k.Cookies, args...)
		case "query":
			if err := k.unmarshalQuery(d, args); err != nil {
				return err
			}
		case "host":
			if len(args) != 1 || args[0] != "off" {
				return d.Errf("cache: key: host %q: want off", args)
			}
			k.IgnoreHost = true
		default:
			return d.Errf("cache: key: unknown option %q", option)
		}
	}
	if empty {
		return d.Err("cache: key: want values or a block")
	}
	return nil
}

func (k *Key) unmarshalQuery(d *caddyfile.Dispenser, args []string) error {
	switch how, names := args[0], args[1:]; {
	case how == "only" && len(names) > 0:
		k.QueryOnly = append(k.QueryOnly, names...)
	case how == "without" && len(names) > 0:
		k.QueryWithout = append(k.QueryWithout, names...)
	case how == "sort" && len(names) == 0:
		k.SortQuery = true
	case how == "off" && len(names) == 0:
		k.IgnoreQuery = true
	default:
		return d.Errf("cache: key: query %q: want only or without with names, sort, or off", args)
	}
	return nil
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
		case "lock":
			err = unmarshalDuration(d, "l2: lock", &l.Lock, false)
		default:
			err = d.Errf("cache: l2: unknown option %q", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func unmarshalCount(d *caddyfile.Dispenser, option string, to *int) error {
	var value string
	if !d.AllArgs(&value) {
		return d.ArgErr()
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return d.Errf("cache: %s %q: want a positive number", option, value)
	}
	*to = n
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
