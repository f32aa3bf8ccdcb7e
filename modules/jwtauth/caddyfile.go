package jwtauth

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/dustin/go-humanize"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("jwt_auth", parseDirective)
}

func parseDirective(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile reads the directive:
//
//	jwt_auth [<matcher>] {
//		issuer <iss> {
//			discovery   [<metadata url>]
//			jwks_url    <url>
//			jwks_file   <path>
//			key         <pem|jwk|secret>
//			algorithms  <names...>
//			audience    <names...>|any
//			typ         <type>
//			tls_ca      <file>
//			refresh     <duration>
//			min_refresh <duration>
//			max_stale   <duration>|off
//			timeout     <duration>
//		}
//		from          header <name> [<scheme>]
//		from          cookie|query <name>
//		leeway        <duration>|off
//		max_lifetime  <duration>
//		user_claim    <claims...>
//		scopes        all|any <scopes...>
//		require       <claims...>
//		claim         <claim> in <values...>
//		header        <name> <claim>
//		placeholder   <name> <claim>
//		optional
//		realm             <text>
//		resource_metadata <url>
//		cache_size        <size>|off
//		revocation_on_error allow|deny
//	}
//
// issuer, from, claim, header and placeholder may be repeated.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return h.Config.unmarshalCaddyfile(d)
}

// UnmarshalCaddyfile reads the provider, with the options of jwt_auth.
func (p *Provider) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return p.Config.unmarshalCaddyfile(d)
}

// once notes which options were given, to refuse repeats.
type once map[string]bool

func (o once) first(d *caddyfile.Dispenser, option string) error {
	if o[option] {
		return d.Errf("%s is given twice", option)
	}
	o[option] = true
	return nil
}

// repeatable are the options that may be given more than once, with other
// arguments.
var repeatable = map[string]bool{
	"issuer": true, "from": true, "claim": true, "header": true, "placeholder": true, "scopes": true,
}

func (c *Config) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if !repeatable[option] {
			if err := seen.first(d, option); err != nil {
				return err
			}
		}
		if err := c.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	if len(c.Issuers) == 0 {
		return d.Err("no issuer is given")
	}
	return nil
}

func (c *Config) unmarshalOption(d *caddyfile.Dispenser, option string) (err error) {
	switch option {
	case "issuer":
		return c.unmarshalIssuer(d)
	case "from":
		return c.unmarshalSource(d)
	case "scopes":
		return c.unmarshalScopes(d)
	case "claim":
		return c.unmarshalClaim(d)
	case "header":
		return c.unmarshalHeader(d)
	case "placeholder":
		return c.unmarshalPlaceholder(d)
	case "user_claim":
		c.UserClaims, err = words(d)
	case "require":
		c.Require, err = words(d)
	case "leeway":
		c.Leeway, err = durationOrOff(d)
	case "max_lifetime":
		c.MaxLifetime, err = duration(d)
	case "cache_size":
		c.CacheSize, err = sizeOrOff(d)
	case "optional":
		c.Optional = true
		return noArgs(d)
	case "realm":
		c.Realm, err = word(d)
	case "resource_metadata":
		c.ResourceMetadata, err = word(d)
	case "revocation_on_error":
		c.RevocationOnError, err = word(d)
	default:
		return d.Errf("unknown option %q", option)
	}
	return err
}

func (c *Config) unmarshalIssuer(d *caddyfile.Dispenser) error {
	name, err := word(d)
	if err != nil {
		return err
	}
	ic := &IssuerConfig{Issuer: name}
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.first(d, d.Val()); err != nil {
			return err
		}
		if err := ic.unmarshalOption(d, d.Val()); err != nil {
			return err
		}
	}
	c.Issuers = append(c.Issuers, ic)
	return nil
}

func (ic *IssuerConfig) unmarshalOption(d *caddyfile.Dispenser, option string) (err error) {
	switch option {
	case "discovery":
		return ic.unmarshalDiscovery(d)
	case "jwks_url":
		ic.JWKSURL, err = word(d)
	case "jwks_file":
		ic.JWKSFile, err = word(d)
	case "key":
		ic.Key, err = word(d)
	case "algorithms":
		ic.Algorithms, err = words(d)
	case "audience":
		ic.Audience, err = words(d)
	case "typ":
		ic.Type, err = word(d)
	case "tls_ca":
		ic.TLSCA, err = word(d)
	case "refresh":
		ic.Refresh, err = duration(d)
	case "min_refresh":
		ic.MinRefresh, err = duration(d)
	case "max_stale":
		ic.MaxStale, err = durationOrOff(d)
	case "timeout":
		ic.Timeout, err = duration(d)
	default:
		return d.Errf("issuer %q: unknown option %q", ic.Issuer, option)
	}
	return err
}

func (ic *IssuerConfig) unmarshalDiscovery(d *caddyfile.Dispenser) error {
	ic.Discovery = autoDiscovery
	if d.NextArg() {
		ic.Discovery = d.Val()
	}
	return noArgs(d)
}

func (c *Config) unmarshalSource(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 || len(args) > 3 {
		return d.ArgErr()
	}
	s := Source{In: args[0], Name: args[1]}
	if len(args) == 3 {
		s.Scheme = args[2]
	}
	if err := s.check(); err != nil {
		return d.WrapErr(err)
	}
	c.Sources = append(c.Sources, s)
	return nil
}

func (c *Config) unmarshalScopes(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.ArgErr()
	}
	if c.Scopes == nil {
		c.Scopes = new(ScopeRule)
	}
	var list *[]string
	switch args[0] {
	case "all":
		list = &c.Scopes.All
	case "any":
		list = &c.Scopes.Any
	default:
		return d.Errf("scopes: %q is not all or any", args[0])
	}
	if *list != nil {
		return d.Errf("scopes %s is given twice", args[0])
	}
	*list = args[1:]
	return nil
}

func (c *Config) unmarshalClaim(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 3 {
		return d.ArgErr()
	}
	if args[1] != "in" {
		return d.Errf("claim %s: expected \"in\", got %q", args[0], args[1])
	}
	c.Claims = append(c.Claims, ClaimRule{Claim: args[0], In: args[2:]})
	return nil
}

func (c *Config) unmarshalHeader(d *caddyfile.Dispenser) error {
	var rule HeaderRule
	if !d.AllArgs(&rule.Name, &rule.Claim) {
		return d.ArgErr()
	}
	c.Headers = append(c.Headers, rule)
	if err := headerRules(c.Headers).check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (c *Config) unmarshalPlaceholder(d *caddyfile.Dispenser) error {
	var name, claim string
	if !d.AllArgs(&name, &claim) {
		return d.ArgErr()
	}
	if c.Placeholders == nil {
		c.Placeholders = map[string]string{}
	}
	if _, found := c.Placeholders[name]; found {
		return d.Errf("placeholder %s is given twice", name)
	}
	c.Placeholders[name] = claim
	return nil
}

func noArgs(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

func word(d *caddyfile.Dispenser) (string, error) {
	var s string
	option := d.Val()
	if !d.AllArgs(&s) {
		return "", d.ArgErr()
	}
	if s == "" {
		return "", d.Errf("%s: the value is empty", option)
	}
	return s, nil
}

func words(d *caddyfile.Dispenser) ([]string, error) {
	option := d.Val()
	list := d.RemainingArgs()
	if len(list) == 0 {
		return nil, d.ArgErr()
	}
	for _, s := range list {
		if s == "" {
			return nil, d.Errf("%s: a value is empty", option)
		}
	}
	return list, nil
}

func duration(d *caddyfile.Dispenser) (caddy.Duration, error) {
	option := d.Val()
	s, err := word(d)
	if err != nil {
		return 0, err
	}
	t, err := caddy.ParseDuration(s)
	if err != nil || t <= 0 {
		return 0, d.Errf("%s: %q is not a positive duration", option, s)
	}
	return caddy.Duration(t), nil
}

// durationOrOff is -1 for off and for zero.
func durationOrOff(d *caddyfile.Dispenser) (caddy.Duration, error) {
	option := d.Val()
	s, err := word(d)
	if err != nil {
		return 0, err
	}
	if s == "off" {
		return -1, nil
	}
	t, err := caddy.ParseDuration(s)
	if err != nil || t < 0 {
		return 0, d.Errf("%s: %q is not a duration or off", option, s)
	}
	if t == 0 {
		return -1, nil
	}
	return caddy.Duration(t), nil
}

func sizeOrOff(d *caddyfile.Dispenser) (int64, error) {
	option := d.Val()
	s, err := word(d)
	if err != nil {
		return 0, err
	}
	if s == "off" {
		return -1, nil
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<40 {
		return 0, d.Errf("%s: %q is not a size such as 64MiB, or off", option, s)
	}
	return int64(n), nil
}

var (
	_ caddyfile.Unmarshaler = (*Handler)(nil)
	_ caddyfile.Unmarshaler = (*Provider)(nil)
)
