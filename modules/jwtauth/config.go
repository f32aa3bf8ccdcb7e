package jwtauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Defaults of the options.
const (
	defaultLeeway     = 5 * time.Second
	defaultRefresh    = 15 * time.Minute
	defaultMinRefresh = 10 * time.Second
	defaultMaxStale   = 24 * time.Hour
	defaultTimeout    = 10 * time.Second
	defaultCacheSize  = 64 << 20
	defaultRealm      = "fairway"

	anyAudience   = "any"
	autoDiscovery = "auto"
)

// Config is what the handler and the provider have in common.
type Config struct {
	// Who may issue tokens. At least one.
	Issuers []*IssuerConfig `json:"issuers"`

	// Where tokens may be. Default: the header Authorization with the scheme
	// Bearer. A request with tokens in two places is answered 400.
	Sources []Source `json:"sources,omitempty"`

	// Clock difference to tolerate with exp, nbf and iat, at most 10m.
	// Default: 5s. -1 for none.
	Leeway caddy.Duration `json:"leeway,omitempty"`

	// Longest life of a token, exp - iat; tokens without iat are then refused.
	// Default: 0, any.
	MaxLifetime caddy.Duration `json:"max_lifetime,omitempty"`

	// Claims that name the user; the first that a token has counts, a token with
	// none of them is refused. Default: sub.
	UserClaims []string `json:"user_claims,omitempty"`

	// Scopes that are needed. Default: none.
	Scopes *ScopeRule `json:"scopes,omitempty"`

	// Claims that must be there and not be null or empty. Default: none.
	Require []string `json:"require,omitempty"`

	// Claims that must have one of some values. Default: none.
	Claims []ClaimRule `json:"claims,omitempty"`

	// Claims carried to the upstream in header fields. Default: none.
	Headers []HeaderRule `json:"headers,omitempty"`

	// More placeholders: {http.auth.user.<name>} to claim. Every claim is there
	// under its own name anyway.
	Placeholders map[string]string `json:"placeholders,omitempty"`

	// Whether a request without a token passes. One with a bad token is refused
	// nevertheless. Default: false.
	Optional bool `json:"optional,omitempty"`

	// Realm of the challenge. Default: fairway.
	Realm string `json:"realm,omitempty"`

	// URL of the protected resource metadata (RFC 9728), named in challenges.
	// Default: none.
	ResourceMetadata string `json:"resource_metadata,omitempty"`

	// Memory for verified tokens in bytes. Default: 64 MiB. -1 for no cache.
	CacheSize int64 `json:"cache_size,omitempty"`

	// What to do while it was never possible to learn which tokens are revoked,
	// because Redis does not answer since the start: "allow" or "deny" (503).
	// Default: allow.
	RevocationOnError string `json:"revocation_on_error,omitempty"`
}

// IssuerConfig is one party whose tokens are accepted.
type IssuerConfig struct {
	// The exact value of iss.
	Issuer string `json:"issuer"`

	// Algorithms it may use: HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384
	// PS512 ES256 ES384 ES512 EdDSA. Required; HS only by themselves.
	Algorithms []string `json:"algorithms"`

	// Accepted values of aud; the token must have one of them. Required; the
	// single word "any" accepts tokens that are meant for anyone.
	Audience []string `json:"audience"`

	// The type that tokens must have, such as at+jwt (RFC 9068). Default: none,
	// JWT or at+jwt.
	Type string `json:"typ,omitempty"`

	// Where the keys are; exactly one of these four. Discovery is "auto"
	// (the issuer's /.well-known/openid-configuration) or the URL of the
	// metadata. Key is a public key or certificate in PEM, a JWK, or a secret,
	// as text or as base64:…; give secrets as {env.X} or {file.X}.
	Discovery string `json:"discovery,omitempty"`
	JWKSURL   string `json:"jwks_url,omitempty"`
	JWKSFile  string `json:"jwks_file,omitempty"`
	Key       string `json:"key,omitempty"`

	// PEM file with the only authorities to trust for fetching keys. Default:
	// those of the system.
	TLSCA string `json:"tls_ca,omitempty"`

	// Longest time between fetches; Cache-Control may shorten it. Default: 15m.
	Refresh caddy.Duration `json:"refresh,omitempty"`

	// Shortest time between fetches, whatever tokens and Cache-Control say.
	// Default: 10s.
	MinRefresh caddy.Duration `json:"min_refresh,omitempty"`

	// How long keys are used after the last successful fetch. Default: 24h.
	// -1 for ever.
	MaxStale caddy.Duration `json:"max_stale,omitempty"`

	// Longest time of one fetch. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// resolved is a copy with placeholders replaced and defaults filled in, checked
// as far as that is possible without a look at keys.
func (c Config) resolved() (*Config, error) {
	repl := caddy.NewReplacer()
	issuers := make([]*IssuerConfig, len(c.Issuers))
	for i, ic := range c.Issuers {
		r, err := ic.resolved(repl)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", ic.Issuer, err)
		}
		issuers[i] = r
	}
	c.Issuers = issuers
	for _, field := range []*string{&c.Realm, &c.ResourceMetadata} {
		var err error
		if *field, err = repl.ReplaceOrErr(*field, true, true); err != nil {
			return nil, err
		}
	}
	c.fillIn()
	return &c, c.check()
}

func (c *Config) fillIn() {
	c.Leeway = caddy.Duration(defaulted(time.Duration(c.Leeway), defaultLeeway))
	c.CacheSize = defaulted(c.CacheSize, defaultCacheSize)
	if c.Realm == "" {
		c.Realm = defaultRealm
	}
	if c.Scopes == nil {
		c.Scopes = new(ScopeRule)
	}
	if len(c.UserClaims) == 0 {
		c.UserClaims = []string{"sub"}
	}
	if c.Sources = slices.Clone(c.Sources); len(c.Sources) == 0 {
		c.Sources = slices.Clone(defaultSources)
	}
	c.Headers = slices.Clone(c.Headers)
}

// defaulted is d for 0, and 0 for -1.
func defaulted[T ~int64](v, d T) T {
	switch v {
	case 0:
		return d
	case -1:
		return 0
	default:
		return v
	}
}

func (c *Config) check() error {
	if len(c.Issuers) == 0 {
		return errors.New("no issuer is given")
	}
	for i, ic := range c.Issuers {
		if slices.ContainsFunc(c.Issuers[:i], func(o *IssuerConfig) bool { return o.Issuer == ic.Issuer }) {
			return fmt.Errorf("issuer %q is given twice", ic.Issuer)
		}
	}
	if err := c.checkSources(); err != nil {
		return err
	}
	if err := headerRules(c.Headers).check(); err != nil {
		return err
	}
	if slices.Contains(c.UserClaims, "") {
		return errors.New("user_claim: a name is empty")
	}
	for name, claim := range c.Placeholders {
		if name == "" || name == "id" || claim == "" {
			return fmt.Errorf("placeholder %q for claim %q: both need a name, and not id", name, claim)
		}
	}
	return c.checkLimits()
}

func (c *Config) checkSources() error {
	for i := range c.Sources {
		s := &c.Sources[i]
		if err := s.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(c.Sources[:i], func(o Source) bool { return o.In == s.In && o.Name == s.Name }) {
			return fmt.Errorf("from %s %s: given twice", s.In, s.Name)
		}
		if s.In == "header" && headerRules(c.Headers).match(s.Name) {
			return fmt.Errorf("from header %s: the field is also to carry a claim, so what clients send in it is removed", s.Name)
		}
	}
	return nil
}

func (c *Config) checkLimits() error {
	switch {
	case c.Leeway < 0 || time.Duration(c.Leeway) > maxLeeway:
		return fmt.Errorf("leeway: must be at most %s, got %s", maxLeeway, time.Duration(c.Leeway))
	case c.MaxLifetime < 0:
		return fmt.Errorf("max_lifetime: must be positive, got %s", time.Duration(c.MaxLifetime))
	case c.CacheSize < 0:
		return fmt.Errorf("cache_size: must be positive, got %d", c.CacheSize)
	case c.CacheSize > 0 && c.CacheSize < 1<<20:
		return fmt.Errorf("cache_size: must be at least 1MiB, got %d bytes", c.CacheSize)
	}
	if c.ResourceMetadata != "" {
		if u, err := url.Parse(c.ResourceMetadata); err != nil || u.Host == "" {
			return fmt.Errorf("resource_metadata: %q is not an absolute URL", c.ResourceMetadata)
		}
	}
	if e := c.RevocationOnError; e != "" && e != "allow" && e != "deny" {
		return fmt.Errorf("revocation_on_error: %q is not allow or deny", e)
	}
	return nil
}

func (ic IssuerConfig) resolved(repl *caddy.Replacer) (*IssuerConfig, error) {
	ic.Audience = slices.Clone(ic.Audience)
	fields := []*string{&ic.Issuer, &ic.Discovery, &ic.JWKSURL, &ic.JWKSFile, &ic.TLSCA}
	if !strings.HasPrefix(strings.TrimSpace(ic.Key), `{"`) { // a JWK is no placeholder
		fields = append(fields, &ic.Key)
	}
	for i := range ic.Audience {
		fields = append(fields, &ic.Audience[i])
	}
	for _, field := range fields {
		var err error
		if *field, err = repl.ReplaceOrErr(*field, true, true); err != nil {
			return nil, err
		}
	}
	ic.Refresh = defaulted(ic.Refresh, caddy.Duration(defaultRefresh))
	ic.MinRefresh = defaulted(ic.MinRefresh, caddy.Duration(min(defaultMinRefresh, time.Duration(ic.Refresh))))
	ic.MaxStale = defaulted(ic.MaxStale, caddy.Duration(defaultMaxStale))
	ic.Timeout = defaulted(ic.Timeout, caddy.Duration(defaultTimeout))
	return &ic, ic.check()
}

func (ic *IssuerConfig) check() error {
	if ic.Issuer == "" {
		return errors.New("the name is empty; it is the exact value of iss")
	}
	if _, err := newAllowlist(ic.Algorithms); err != nil {
		return err
	}
	if len(ic.Audience) == 0 {
		return errors.New(`audience is required (RFC 8725, 3.9); write "audience any" to accept tokens that are meant for anyone`)
	}
	if slices.Contains(ic.Audience, "") || len(ic.Audience) > 1 && slices.Contains(ic.Audience, anyAudience) {
		return fmt.Errorf("audience: %q: an empty name, or %q beside others", ic.Audience, anyAudience)
	}
	if err := ic.checkKeySource(); err != nil {
		return err
	}
	return ic.checkCadence()
}

func (ic *IssuerConfig) checkKeySource() error {
	given := 0
	for _, s := range []string{ic.Discovery, ic.JWKSURL, ic.JWKSFile, ic.Key} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("exactly one of discovery, jwks_url, jwks_file and key is needed, got %d", given)
	}
	fetched := ic.JWKSURL != "" || ic.Discovery != ""
	if ic.TLSCA != "" && !fetched {
		return errors.New("tls_ca: nothing is fetched by TLS here")
	}
	if ic.JWKSURL != "" {
		if err := checkURL(ic.JWKSURL); err != nil {
			return fmt.Errorf("jwks_url: %w", err)
		}
	}
	if ic.Discovery != "" {
		if err := checkURL(ic.metadataURL()); err != nil {
			return fmt.Errorf("discovery: %w", err)
		}
	}
	return nil
}

// metadataURL is where discovery looks.
func (ic *IssuerConfig) metadataURL() string {
	if ic.Discovery == autoDiscovery {
		return discoveryURL(ic.Issuer)
	}
	return ic.Discovery
}

func (ic *IssuerConfig) checkCadence() error {
	for _, d := range []struct {
		name  string
		value caddy.Duration
		least time.Duration
	}{
		{"refresh", ic.Refresh, time.Second},
		{"min_refresh", ic.MinRefresh, 100 * time.Millisecond},
		{"timeout", ic.Timeout, 10 * time.Millisecond},
	} {
		if time.Duration(d.value) < d.least {
			return fmt.Errorf("%s: must be at least %s, got %s", d.name, d.least, time.Duration(d.value))
		}
	}
	switch {
	case ic.MinRefresh > ic.Refresh:
		return fmt.Errorf("min_refresh: %s is longer than refresh, %s", time.Duration(ic.MinRefresh), time.Duration(ic.Refresh))
	case ic.MaxStale < 0:
		return fmt.Errorf("max_stale: must be positive, got %s", time.Duration(ic.MaxStale))
	case ic.MaxStale > 0 && ic.MaxStale < ic.Refresh:
		return fmt.Errorf("max_stale: %s is shorter than refresh, %s", time.Duration(ic.MaxStale), time.Duration(ic.Refresh))
	}
	return nil
}
