package cache

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.cache", New: func() caddy.Module { return new(Handler) }}
}

// Provision takes hold of the store and, if there is one, of Redis.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.setDefaults()
	if err := h.Validate(); err != nil {
		return err
	}
	h.setRules()
	if err := h.loadBypass(ctx); err != nil {
		return err
	}
	if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
		return err
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	if err := h.agree(app); err != nil {
		return err
	}
	if h.store, err = openStore(h.Name, uint64(h.MaxSize)); err != nil {
		return err
	}
	if redis := app.Redis(); redis != nil && !h.L2.Off {
		if h.remoteKey, h.remote, err = openRemote(h, redis, app.NodeID()); err != nil {
			return err
		}
	}
	return app.Register(newPart(h, app))
}

// agree refuses a config in which caches of one name differ in size: they are
// one store.
func (h *Handler) agree(app *gateway.App) error {
	for _, other := range app.Parts() {
		p, ok := other.(*part)
		if ok && p.h.Name == h.Name && p.h.MaxSize != h.MaxSize {
			return fmt.Errorf("cache %q: max_size is %d here and %d in another cache of that name", h.Name, h.MaxSize, p.h.MaxSize)
		}
	}
	return nil
}

func (h *Handler) loadBypass(ctx caddy.Context) error {
	if len(h.BypassRaw) == 0 {
		return nil
	}
	mods, err := ctx.LoadModule(h, "BypassRaw")
	if err != nil {
		return fmt.Errorf("cache: bypass: %w", err)
	}
	if err := h.bypasses.FromInterface(mods); err != nil {
		return fmt.Errorf("cache: bypass: %w", err)
	}
	return nil
}

// Cleanup gives back what Provision took.
func (h *Handler) Cleanup() error {
	var err error
	if h.remote != nil {
		_, err = remotePool.Delete(h.remoteKey)
	}
	if h.store != nil {
		_, err2 := storePool.Delete(h.Name)
		err = errors.Join(err, err2)
	}
	return err
}

// start makes the store obey this config. It runs with its first request, since
// a config that is provisioned may still be rejected.
func (h *Handler) start() {
	h.store.memory.resize(uint64(h.MaxSize))
	if h.remote != nil {
		h.remote.ttl.Store(ms(h.L2.TTL))
	}
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
