package ratelimit

import (
	"math"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("rate_limit", parseCaddyfile)
}

func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	if err := h.UnmarshalCaddyfile(helper.Dispenser); err != nil {
		return nil, err
	}
	return h, nil
}

// UnmarshalCaddyfile reads the directive:
//
//	rate_limit [<matcher>] {
//		zone <name> {
//			match {
//				<matchers>
//			}
//			exempt {
//				<matchers>
//			}
//			key         <text with placeholders>
//			on_empty    deny|skip|share
//			ipv4_prefix <bits>
//			ipv6_prefix <bits>
//			events      <n>
//			window      <duration>
//			rate        <n/duration>...
//			tier <placeholder> {
//				<value>|* <n/duration>...
//			}
//			concurrent  <n>
//			cost        <n or placeholder>
//			count_if    status <code or class>...
//			ban         <duration> after <n> denials in <duration>
//			mode        enforce|shadow
//			algorithm   sliding|gcra
//			slots       <n>
//			lease       auto|off|<n>
//			on_error    local|allow|deny
//			max_keys    <n>
//			on_full     carry|deny
//		}
//		headers         draft|legacy|off
//		jitter          <fraction>
//		sweep_interval  <duration>
//		log_key
//		disable_metrics
//		distributed {
//			read_interval  <duration>
//			write_interval <duration>
//			purge_age      <duration>
//		}
//		storage <module>
//	}
//
// The last two are caddy-ratelimit's and mean nothing here.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "rate_limit"
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := once{}
	for d.NextBlock(0) {
		option := d.Val()
		if option != "zone" {
			if err := seen.check(d, option); err != nil {
				return err
			}
		}
		if err := h.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

// once refuses repeats.
type once map[string]bool

func (o once) check(d *caddyfile.Dispenser, option string) error {
	if o[option] {
		return d.Errf("%s is given twice", option)
	}
	o[option] = true
	return nil
}

func (h *Handler) unmarshalOption(d *caddyfile.Dispenser, option string) (err error) {
	switch option {
	case "zone":
		return h.unmarshalZone(d)
	case "headers":
		h.Headers, err = word(d)
	case "jitter":
		h.Jitter, err = float(d)
	case "sweep_interval":
		h.SweepInterval, err = duration(d)
	case "log_key":
		h.LogKey, err = true, noArgs(d)
	case "disable_metrics":
		h.DisableMetrics, err = true, noArgs(d)
	case "distributed":
		h.Distributed, err = unmarshalDistributed(d)
	case "storage":
		return h.unmarshalStorage(d)
	default:
		return d.Errf("unknown option %q", option)
	}
	return err
}

func (h *Handler) unmarshalStorage(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	id := "caddy.storage." + d.Val()
	module, err := caddyfile.UnmarshalModule(d, id)
	if err != nil {
		return err
	}
	storage, ok := module.(caddy.StorageConverter)
	if !ok {
		return d.Errf("storage: module %s stores nothing", id)
	}
	h.StorageRaw = caddyconfig.JSONModuleObject(storage, "module", module.(caddy.Module).CaddyModule().ID.Name(), nil)
	return nil
}

func unmarshalDistributed(d *caddyfile.Dispenser) (*Distributed, error) {
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	dist, seen := new(Distributed), once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if err := seen.check(d, option); err != nil {
			return nil, err
		}
		into := map[string]*caddy.Duration{
			"read_interval": &dist.ReadInterval, "write_interval": &dist.WriteInterval, "purge_age": &dist.PurgeAge,
		}[option]
		if into == nil {
			return nil, d.Errf("distributed: unknown option %q", option)
		}
		var err error
		if *into, err = duration(d); err != nil {
			return nil, err
		}
	}
	return dist, nil
}

func (h *Handler) unmarshalZone(d *caddyfile.Dispenser) error {
	name, err := word(d)
	if err != nil {
		return err
	}
	if h.RateLimits[name] != nil {
		return d.Errf("zone %q is given twice", name)
	}
	z, seen := new(Zone), once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if option != "match" && option != "exempt" {
			if err := seen.check(d, option); err != nil {
				return err
			}
		}
		if err := z.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	if h.RateLimits == nil {
		h.RateLimits = make(map[string]*Zone)
	}
	h.RateLimits[name] = z
	// resolve leaves its results in unexported fields, which are not adapted.
	if _, err := z.resolve(name, h.forCaddyRateLimit()); err != nil {
		return d.Errf("zone %q: %v", name, err)
	}
	return nil
}

func (z *Zone) unmarshalOption(d *caddyfile.Dispenser, option string) (err error) {
	switch option {
	case "match":
		z.MatcherSetsRaw, err = appendMatchers(d, z.MatcherSetsRaw)
	case "exempt":
		z.ExemptRaw, err = appendMatchers(d, z.ExemptRaw)
	case "key":
		z.Key, err = word(d)
	case "on_empty":
		z.OnEmpty, err = word(d)
	case "ipv4_prefix":
		z.IPv4Prefix, err = number(d)
	case "ipv6_prefix":
		z.IPv6Prefix, err = number(d)
	case "events":
		var n int
		n, err = number(d)
		events := int64(n)
		z.Events = &events
	case "window":
		z.Window, err = duration(d)
	case "rate":
		z.Rate, err = rates(d)
	case "tier":
		z.Tier, err = unmarshalTier(d)
	case "concurrent":
		z.Concurrent, err = number(d)
	case "cost":
		z.Cost, err = word(d)
	case "count_if":
		z.CountIf, err = unmarshalCountIf(d)
	case "ban":
		z.Ban, err = unmarshalBan(d)
	case "mode":
		z.Mode, err = word(d)
	case "algorithm":
		z.Algorithm, err = word(d)
	case "slots":
		z.Slots, err = number(d)
	case "lease":
		z.Lease, err = word(d)
	case "on_error":
		z.OnError, err = word(d)
	case "max_keys":
		z.MaxKeys, err = number(d)
	case "on_full":
		z.OnFull, err = word(d)
	default:
		return d.Errf("zone: unknown option %q", option)
	}
	return err
}

func appendMatchers(d *caddyfile.Dispenser, sets caddyhttp.RawMatcherSets) (caddyhttp.RawMatcherSets, error) {
	option := d.Val()
	set, err := caddyhttp.ParseCaddyfileNestedMatcherSet(d)
	if err != nil {
		return nil, err
	}
	if len(set) == 0 {
		return nil, d.Errf("%s: no matcher", option)
	}
	return append(sets, set), nil
}

func unmarshalTier(d *caddyfile.Dispenser) (*Tier, error) {
	value, err := word(d)
	if err != nil {
		return nil, err
	}
	t := &Tier{Value: value, Rates: make(map[string][]Rate)}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		tier := d.Val()
		if t.Rates[tier] != nil {
			return nil, d.Errf("tier %q is given twice", tier)
		}
		if t.Rates[tier], err = rates(d); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func unmarshalCountIf(d *caddyfile.Dispenser) (*CountIf, error) {
	args := d.RemainingArgs()
	if len(args) < 2 || args[0] != "status" {
		return nil, d.Err("count_if: want count_if status <code or class>...")
	}
	c := new(CountIf)
	for _, arg := range args[1:] {
		n, err := strconv.Atoi(strings.TrimSuffix(arg, "xx"))
		if err != nil || strings.HasSuffix(arg, "xx") && len(arg) != 3 {
			return nil, d.Errf("count_if: status %q: want a code such as 401, or a class such as 4xx", arg)
		}
		c.Status = append(c.Status, n)
	}
	return c, nil
}

func unmarshalBan(d *caddyfile.Dispenser) (*Ban, error) {
	a := d.RemainingArgs()
	if len(a) != 6 || a[1] != "after" || a[3] != "denials" || a[4] != "in" {
		return nil, d.Err("ban: want ban <duration> after <n> denials in <duration>")
	}
	length, err := caddy.ParseDuration(a[0])
	if err != nil {
		return nil, d.Errf("ban: duration %q: %v", a[0], err)
	}
	n, err := strconv.ParseInt(a[2], 10, 64)
	if err != nil {
		return nil, d.Errf("ban: denials %q: want a whole number", a[2])
	}
	within, err := caddy.ParseDuration(a[5])
	if err != nil {
		return nil, d.Errf("ban: within %q: %v", a[5], err)
	}
	return &Ban{Duration: caddy.Duration(length), Denials: n, Within: caddy.Duration(within)}, nil
}

// word reads the option's only argument.
func word(d *caddyfile.Dispenser) (s string, err error) {
	if !d.AllArgs(&s) {
		return "", d.ArgErr()
	}
	return s, nil
}

func noArgs(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func number(d *caddyfile.Dispenser) (int, error) {
	option := d.Val()
	s, err := word(d)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, d.Errf("%s %q: want a whole number", option, s)
	}
	return n, nil
}

func float(d *caddyfile.Dispenser) (float64, error) {
	option := d.Val()
	s, err := word(d)
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return 0, d.Errf("%s %q: want a number such as 0.2", option, s)
	}
	return f, nil
}

func duration(d *caddyfile.Dispenser) (caddy.Duration, error) {
	option := d.Val()
	s, err := word(d)
	if err != nil {
		return 0, err
	}
	t, err := caddy.ParseDuration(s)
	if err != nil {
		return 0, d.Errf("%s %q: %v", option, s, err)
	}
	if t <= 0 {
		return 0, d.Errf("%s must be positive, got %s", option, s)
	}
	return caddy.Duration(t), nil
}

func rates(d *caddyfile.Dispenser) ([]Rate, error) {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) == 0 {
		return nil, d.ArgErr()
	}
	var list []Rate
	for _, arg := range args {
		r, err := ParseRate(arg)
		if err != nil {
			return nil, d.Errf("%s: %v", option, err)
		}
		list = append(list, r)
	}
	return list, nil
}

var _ caddyfile.Unmarshaler = (*Handler)(nil)
