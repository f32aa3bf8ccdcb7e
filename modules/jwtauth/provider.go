package jwtauth

import (
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
)

func init() {
	caddy.RegisterModule(new(Provider))
}

// Provider offers the same decisions to Caddy's authentication handler, so that
// tokens and, say, passwords can stand beside each other. That handler answers
// every failure 401; where 403, 400 and 503 matter, use the jwt_auth handler.
type Provider struct {
	Config

	engine *engine
}

// CaddyModule returns the Caddy module information.
func (*Provider) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.authentication.providers.jwt",
		New: func() caddy.Module { return new(Provider) },
	}
}

// Provision checks the config and takes hold of keys, cache and revocations.
func (p *Provider) Provision(ctx caddy.Context) (err error) {
	if p.Optional {
		return fmt.Errorf("authentication provider jwt: optional is for the jwt_auth handler only")
	}
	if len(p.Headers) > 0 {
		return fmt.Errorf("authentication provider jwt: headers (%s) are for the jwt_auth handler only: "+
			"Caddy may ask another provider first, and what the client sent in the field would stay; "+
			"set it behind authentication, to {http.auth.user.<claim>}", p.Headers[0].Name)
	}
	if p.engine, err = newEngine(ctx, &p.Config); err != nil {
		return fmt.Errorf("authentication provider jwt: %w", err)
	}
	return nil
}

// Cleanup gives back what Provision took.
func (p *Provider) Cleanup() error {
	if p.engine == nil {
		return nil
	}
	return p.engine.close()
}

// Authenticate reports who is calling.
func (p *Provider) Authenticate(w http.ResponseWriter, r *http.Request) (caddyauth.User, bool, error) {
	d := p.engine.decide(r)
	if status := d.Reason.Status(); status != 0 {
		setRefusal(w.Header(), &d)
		if status == http.StatusServiceUnavailable {
			return caddyauth.User{}, false, errRefused[d.Reason]
		}
		return caddyauth.User{}, false, nil
	}
	p.engine.admit(r, &d)
	return caddyauth.User{ID: d.Caller.ID(), Metadata: d.Caller.metadata(p.Placeholders)}, true, nil
}

// metadata are the claims as text, by their names, and the extra placeholders.
func (c *Caller) metadata(extra map[string]string) map[string]string {
	m := map[string]string{}
	for name, v := range c.claims.all() {
		m[name] = v.text()
	}
	for name, claim := range extra {
		m[name] = c.text(claim)
	}
	delete(m, "id") // the placeholder of the user's id
	return m
}

var (
	_ caddy.Provisioner       = (*Provider)(nil)
	_ caddy.CleanerUpper      = (*Provider)(nil)
	_ caddyauth.Authenticator = (*Provider)(nil)
)
