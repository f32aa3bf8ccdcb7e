package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// engine is a Guard with all it stands on: what the handler and the provider of
// one config hold between Provision and Cleanup.
type engine struct {
	guard    *Guard
	config   *Config // resolved
	outcomes *outcomes
	cache    *pooledCache
	store    *revocationStore

	release []func() error // gives back what was taken out of pools
}

// newEngine builds the engine of a config. If it fails it has given back
// everything it took.
func newEngine(ctx caddy.Context, c *Config) (*engine, error) {
	if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
		return nil, err
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return nil, err
	}
	e := new(engine)
	if e.config, err = c.resolved(); err != nil {
		return nil, err
	}
	if err := e.assemble(ctx, app); err != nil {
		return nil, errors.Join(err, e.close())
	}
	e.show(app)
	return e, nil
}

func (e *engine) assemble(ctx caddy.Context, app *gateway.App) error {
	store, id, err := openStore(app.Redis(), ctx.Storage())
	if err != nil {
		return err
	}
	e.store = store
	e.release = append(e.release, func() error {
		_, err := storePool.Delete(id)
		return err
	})
	issuers, err := e.issuers()
	if err != nil {
		return err
	}
	if err := e.openCache(issuers); err != nil {
		return err
	}
	e.outcomes = newOutcomes(issuers)
	e.guard, err = e.config.guard(issuers, store.revocations, e.cache.tokenCache)
	return err
}

func (e *engine) issuers() ([]*issuer, error) {
	var list []*issuer
	for _, ic := range e.config.Issuers {
		allowed, err := newAllowlist(ic.Algorithms)
		if err != nil {
			return nil, err
		}
		keys, err := e.openKeys(ic, allowed)
		if err != nil {
			return nil, fmt.Errorf("issuer %q: %w", ic.Issuer, err)
		}
		list = append(list, newIssuer(ic.Issuer, allowed, ic.audiences(), ic.Type, keys))
	}
	return list, nil
}

// audiences are those to look for; nil for any.
func (ic *IssuerConfig) audiences() []string {
	if ic.Audience[0] == anyAudience {
		return nil
	}
	return ic.Audience
}

// openKeys makes or finds the key set of an issuer.
func (e *engine) openKeys(ic *IssuerConfig, allowed allowlist) (*keySet, error) {
	if ic.Key != "" {
		k, err := parseInlineKey(ic.Key, allowed)
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		return fixedKeySet(k), nil
	}
	src, err := ic.source(allowed)
	if err != nil {
		return nil, err
	}
	id := ic.keySetID()
	keys, err := openKeySet(id, src, allowed)
	if err != nil {
		return nil, err
	}
	e.release = append(e.release, func() error {
		_, err := keySetPool.Delete(id)
		return err
	})
	return keys, nil
}

// source is where the issuer's key set comes from. A file must be good now.
func (ic *IssuerConfig) source(allowed allowlist) (source, error) {
	if ic.JWKSFile != "" {
		return &fileSource{path: ic.JWKSFile}, checkKeyFile(ic.JWKSFile, allowed)
	}
	roots, err := readRoots(ic.TLSCA)
	if err != nil {
		return nil, err
	}
	client := newClient(roots)
	if ic.JWKSURL != "" {
		return &urlSource{url: ic.JWKSURL, client: client}, nil
	}
	return &discoverySource{issuer: ic.Issuer, url: ic.metadataURL(), client: client}, nil
}

func checkKeyFile(path string, allowed allowlist) error {
	file := &fileSource{path: path}
	doc, err := file.fetch(context.Background())
	if err != nil {
		return fmt.Errorf("jwks_file: %w", err)
	}
	keys, problems, err := parseJWKS(doc.body, allowed)
	if err != nil {
		return fmt.Errorf("jwks_file %q: %w", path, err)
	}
	if len(keys) == 0 {
		return fmt.Errorf("jwks_file %q: no usable key: %w", path, errors.Join(append(problems, errNoUsable)...))
	}
	return nil
}

var errNoUsable = errors.New("nothing in it serves the algorithms of the issuer")

func (ic *IssuerConfig) keySetID() keySetID {
	id := keySetID{
		algorithms: strings.Join(ic.Algorithms, " "),
		roots:      ic.TLSCA,
		cadence: cadence{
			refresh:    time.Duration(ic.Refresh),
			minRefresh: time.Duration(ic.MinRefresh),
			maxStale:   time.Duration(ic.MaxStale),
			timeout:    time.Duration(ic.Timeout),
		},
	}
	if info, err := os.Stat(ic.TLSCA); err == nil {
		id.roots += info.ModTime().String() // replaced authorities are read anew
	}
	switch {
	case ic.JWKSFile != "":
		id.kind, id.location = "file", ic.JWKSFile
	case ic.JWKSURL != "":
		id.kind, id.location = "url", ic.JWKSURL
	default:
		id.kind, id.location, id.issuer = "discovery", ic.metadataURL(), ic.Issuer
	}
	return id
}

func (e *engine) openCache(issuers []*issuer) (err error) {
	id, err := cacheID(e.config, issuers)
	if err != nil {
		return err
	}
	if e.cache, err = openCache(id, e.config.CacheSize); err != nil {
		return err
	}
	e.release = append(e.release, func() error {
		_, err := cachePool.Delete(id)
		return err
	})
	return nil
}

// guard puts the core together.
func (c *Config) guard(issuers []*issuer, revoked *revocations, cache *tokenCache) (*Guard, error) {
	g := &Guard{
		verifier: &Verifier{
			issuers:     issuers,
			leeway:      instant(time.Duration(c.Leeway).Milliseconds()),
			maxLifetime: instant(time.Duration(c.MaxLifetime).Milliseconds()),
			userClaims:  c.UserClaims,
			revocations: revoked,
			mustKnow:    c.RevocationOnError == "deny",
			cache:       cache,
		},
		sources:    c.Sources,
		policy:     policy{require: c.Require, scopes: *c.Scopes, claims: c.Claims},
		headers:    c.Headers,
		challenges: newChallenges(c.Realm, c.ResourceMetadata, *c.Scopes),
		optional:   c.Optional,
	}
	return g, g.policy.check()
}

// show makes the issuers and the revocations visible to operators. Handlers of
// one config often share them; each is shown once, so an error, which says that
// it is there already, is none.
func (e *engine) show(app *gateway.App) {
	for i, is := range e.guard.verifier.issuers {
		_ = app.Register(&issuerPart{issuer: is, source: e.config.Issuers[i].describeSource(), cache: e.cache})
	}
	_ = app.Register(e.newRevocationsPart(app))
}

// close gives back what the engine took, newest first.
func (e *engine) close() error {
	var failed []error
	for i := len(e.release) - 1; i >= 0; i-- {
		failed = append(failed, e.release[i]())
	}
	e.release = nil
	return errors.Join(failed...)
}
