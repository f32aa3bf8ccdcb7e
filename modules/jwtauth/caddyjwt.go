package jwtauth

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterHandlerDirective("jwtauth", parseCaddyJWT)
}

// parseCaddyJWT reads the jwtauth directive of ggicci/caddy-jwt as a jwt_auth
// handler. What would leave a token in doubt is refused with the safe spelling:
// no issuer, no audience, no algorithm, no verification.
func parseCaddyJWT(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	c, err := unmarshalCaddyJWT(h.Dispenser)
	if err != nil {
		return nil, err
	}
	return &Handler{Config: *c}, nil
}

// caddyJWT are the options of a jwtauth block.
type caddyJWT struct {
	signKey, signAlg, jwkURL string
	issuers, audiences       []string
	header, query, cookies   []string
	userClaims               []string
	placeholders             map[string]string
}

func unmarshalCaddyJWT(d *caddyfile.Dispenser) (*Config, error) {
	d.Next() // consume "jwtauth"
	if d.NextArg() {
		return nil, d.ArgErr()
	}
	var o caddyJWT
	seen := once{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.first(d, d.Val()); err != nil {
			return nil, err
		}
		if err := o.unmarshalOption(d, d.Val()); err != nil {
			return nil, err
		}
	}
	if problem := o.unsafe(); problem != "" {
		return nil, d.Errf("jwtauth: %s", problem)
	}
	return o.config(), nil
}

func (o *caddyJWT) unmarshalOption(d *caddyfile.Dispenser, option string) (err error) {
	switch option {
	case "sign_key":
		o.signKey, err = word(d)
	case "sign_alg":
		o.signAlg, err = word(d)
	case "jwk_url":
		o.jwkURL, err = word(d)
	case "issuer_whitelist":
		o.issuers, err = words(d)
	case "audience_whitelist":
		o.audiences, err = words(d)
	case "from_header":
		o.header, err = words(d)
	case "from_query":
		o.query, err = words(d)
	case "from_cookies":
		o.cookies, err = words(d)
	case "user_claims":
		o.userClaims, err = words(d)
	case "meta_claims":
		return o.unmarshalMeta(d)
	case "skip_verification":
		return d.Err("skip_verification lets anyone be anyone; give sign_key or jwk_url instead")
	case "header_first":
		return d.Err("header_first has no meaning: a request with more than one token is refused")
	default:
		return d.Errf("unknown option %q", option)
	}
	return err
}

// unmarshalMeta reads meta_claims: "claim" or "claim->placeholder".
func (o *caddyJWT) unmarshalMeta(d *caddyfile.Dispenser) error {
	list, err := words(d)
	if err != nil {
		return err
	}
	o.placeholders = map[string]string{}
	for _, s := range list {
		claim, name, renamed := strings.Cut(s, "->")
		if !renamed {
			name = claim
		}
		claim, name = strings.TrimSpace(claim), strings.TrimSpace(name)
		if _, found := o.placeholders[name]; found || claim == "" || name == "" || name == "id" {
			return d.Errf("meta_claims: %q has no claim, no name, a name given twice, or the name id", s)
		}
		o.placeholders[name] = claim
	}
	return nil
}

// unsafe says what is missing, and how to write it.
func (o *caddyJWT) unsafe() string {
	switch {
	case (o.signKey == "") == (o.jwkURL == ""):
		return "exactly one of sign_key and jwk_url is needed"
	case o.signAlg == "":
		return `the token must not choose the algorithm; add the one in use, such as "sign_alg RS256"`
	case len(o.issuers) == 0:
		return `tokens of any issuer would be accepted; add "issuer_whitelist <iss>"`
	case len(o.audiences) == 0:
		return `tokens meant for others would be accepted; add "audience_whitelist <aud>", or use jwt_auth with "audience any"`
	}
	return ""
}

// config is the same in jwt_auth's terms. caddy-jwt always looks at the
// Authorization header, too.
func (o *caddyJWT) config() *Config {
	c := &Config{UserClaims: o.userClaims, Placeholders: o.placeholders}
	for _, name := range o.issuers {
		ic := &IssuerConfig{Issuer: name, Algorithms: []string{o.signAlg}, Audience: o.audiences, JWKSURL: o.jwkURL}
		if o.signKey != "" {
			ic.Key = o.key()
		}
		c.Issuers = append(c.Issuers, ic)
	}
	c.Sources = append(c.Sources, defaultSources...)
	c.addSources("query", o.query)
	for _, name := range o.header {
		if !sameName(name, "Authorization") {
			c.addSources("header", []string{name})
		}
	}
	c.addSources("cookie", o.cookies)
	return c
}

// key is a secret in base64, or a public key in PEM.
func (o *caddyJWT) key() string {
	if strings.HasPrefix(o.signAlg, "HS") {
		return "base64:" + o.signKey
	}
	return o.signKey
}

func (c *Config) addSources(in string, names []string) {
	for _, name := range names {
		c.Sources = append(c.Sources, Source{In: in, Name: name})
	}
}
