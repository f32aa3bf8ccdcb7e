// Package ratelimit limits how many events each client may cause: a limit that
// no window ever exceeds, on one node or across a fleet that shares a Redis.
//
//	rate_limit {
//		zone users {
//			match {
//				path /api/users*
//			}
//			key {http.auth.user.id}
//			tier {http.auth.user.plan} {
//				pro 1000/1m 50000/1d
//				*   100/15m
//			}
//			on_error local
//		}
//	}
//
// A key's events are counted in slots of its window (window.go), in this process
// (memory.go) or by a script in Redis (redis.go). With Redis a node takes leases,
// which it spends without asking (accounts.go), so that a busy key costs a few
// round trips per slot and a refused one almost none.
//
// It is a superset of mholt/caddy-ratelimit, whose configs load unchanged, and
// has the same module ID: the two cannot be built into one binary.
//
// It does not promise that a limit holds while Redis has lost its data or does
// not answer, unless the zone says `on_error deny`; nor that a client gets all of
// its limit: a saturated key gets 12/13 of it with 12 slots.
package ratelimit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Handler refuses requests beyond the limits of its zones with status 429.
type Handler struct {
	// The zones by name. They are asked from the tightest to the loosest; if
	// one refuses, none is charged.
	RateLimits map[string]*Zone `json:"rate_limits,omitempty"`

	// The header fields that tell clients about their limit: draft
	// (RateLimit-Policy and RateLimit), legacy (RateLimit-Limit, -Remaining,
	// -Reset) or off. Retry-After is always sent. Default: draft.
	Headers string `json:"headers,omitempty"`

	// How much is randomly added to Retry-After: 0.2 is up to 20%. Default: 0.
	Jitter float64 `json:"jitter,omitempty"`

	// How often what has expired is removed from memory. Default: 1m.
	SweepInterval caddy.Duration `json:"sweep_interval,omitempty"`

	// Whether refusals are logged with their key, at level INFO. Keys can be
	// personal data. Default: false.
	LogKey bool `json:"log_key,omitempty"`

	// Leaves these zones out of the metrics. Default: false.
	DisableMetrics bool `json:"disable_metrics,omitempty"`

	// Of caddy-ratelimit, accepted with a warning: counts are shared through
	// the `redis` of the fairway app.
	Distributed *Distributed `json:"distributed,omitempty"`

	// Of caddy-ratelimit, accepted with a warning: counts are never stored.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	zones   []*Zone
	headers headerStyle
	fleet   *fleet
	redis   *gateway.Redis
	stop    context.CancelFunc
	events  *caddyevents.App
	ctx     caddy.Context
	logger  *zap.Logger
}

// Distributed is how caddy-ratelimit shares counts: by storing and reading them
// at intervals. Fairway has no use for the intervals.
type Distributed struct {
	// How often to store. Ignored.
	WriteInterval caddy.Duration `json:"write_interval,omitempty"`

	// How often to read. Ignored.
	ReadInterval caddy.Duration `json:"read_interval,omitempty"`

	// When to delete what other instances stored. Ignored.
	PurgeAge caddy.Duration `json:"purge_age,omitempty"`
}

const (
	defaultSweep = time.Minute

	// settleEvery is how often idle leases are looked for, and settleBatch
	// how many a zone hands back at a time.
	settleEvery = 100 * time.Millisecond
	settleBatch = 500
)

// states keeps what zones remember over reloads.
var states = caddy.NewUsagePool()

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.rate_limit", New: func() caddy.Module { return new(Handler) }}
}

// Provision checks the whole config first, then takes hold of the zones' states.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.ctx, h.logger = ctx, ctx.Logger()
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	resolved, err := h.resolve()
	if err != nil {
		return err
	}
	if !h.DisableMetrics {
		if err := gateway.RegisterMetrics(ctx, collectors()...); err != nil {
			return err
		}
	}
	if events, err := ctx.AppIfConfigured("events"); err == nil {
		h.events, _ = events.(*caddyevents.App)
	}
	if h.redis = app.Redis(); h.redis != nil {
		if h.fleet, err = openFleet(h.redis, app.NodeID()); err != nil {
			return err
		}
	}
	for _, z := range h.zones {
		if err := z.loadMatchers(ctx); err != nil {
			return fmt.Errorf("zone %q: %w", z.name, err)
		}
		if err := h.open(z, resolved[z], app); err != nil {
			return fmt.Errorf("zone %q: %w", z.name, err)
		}
	}
	h.warnCompat(resolved)
	background, stop := context.WithCancel(context.Background())
	h.stop = stop
	go h.keep(background)
	return nil
}

// resolve checks the config and puts the zones in order.
func (h *Handler) resolve() (map[*Zone]*settings, error) {
	if len(h.RateLimits) == 0 {
		return nil, errors.New("rate_limit: no zone")
	}
	style, err := choice("headers", h.Headers, "draft", "legacy", "off")
	if err != nil {
		return nil, err
	}
	h.headers = headerStyle(style)
	if h.Jitter < 0 || h.Jitter > 10 {
		return nil, fmt.Errorf("jitter must be 0 to 10, got %v", h.Jitter)
	}
	if h.SweepInterval < 0 {
		return nil, fmt.Errorf("sweep_interval must be positive, got %s", time.Duration(h.SweepInterval))
	}
	resolved := make(map[*Zone]*settings)
	for name, z := range h.RateLimits {
		if z == nil {
			return nil, fmt.Errorf("zone %q is null", name)
		}
		s, err := z.resolve(name, h.forCaddyRateLimit())
		if err != nil {
			return nil, fmt.Errorf("zone %q: %w", name, err)
		}
		resolved[z] = s
		h.zones = append(h.zones, z)
	}
	slices.SortFunc(h.zones, func(a, b *Zone) int {
		return cmp.Or(cmp.Compare(a.base.permissiveness(), b.base.permissiveness()), cmp.Compare(a.name, b.name))
	})
	return resolved, nil
}

// open takes the zone's state out of the pool and makes its limiter.
func (h *Handler) open(z *Zone, s *settings, app *gateway.App) error {
	// What shapes the memory is part of the key; limits are not.
	pooled := fmt.Sprintf("%s\x00%d\x00%t", z.name, s.slots, s.gcra)
	v, _, err := states.LoadOrNew(pooled, func() (caddy.Destructor, error) {
		return newState(s.slots, s.gcra), nil
	})
	if err != nil {
		return err
	}
	z.pooled = pooled
	z.limiter = &limiter{
		state: v.(*state), lease: s.lease, ban: s.ban, outage: s.outage, fleet: h.fleet, clock: timeNow, mono: monoNow,
	}
	if h.redis != nil {
		z.limiter.backend = newRedisBackend(h.redis, z.name, app.NodeID())
		z.limiter.timeout = h.redis.Timeout()
	}
	if !h.DisableMetrics {
		zones.show(z.name, z.limiter.state)
	}
	return h.register(z, app)
}

// register makes the zone visible to operators, once for all places that use it.
func (h *Handler) register(z *Zone, app *gateway.App) error {
	for _, p := range app.Parts() {
		other, ok := p.(*part)
		if !ok || other.zone.name != z.name {
			continue
		}
		if other.zone.pooled != z.pooled {
			return errors.New("the zone stands elsewhere in the config with other slots or another algorithm, so that both could not count together")
		}
		return nil
	}
	return app.Register(&part{zone: z, redis: h.redis})
}

// keep settles leases and sweeps until the config ends.
func (h *Handler) keep(ctx context.Context) {
	every := time.Duration(h.SweepInterval)
	if every == 0 {
		every = defaultSweep
	}
	sweep := time.NewTicker(every)
	defer sweep.Stop()
	settle := time.NewTicker(settleEvery)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			for _, z := range h.zones {
				z.limiter.sweep()
			}
		case <-settle.C:
			if h.redis == nil || !h.redis.Up() {
				continue
			}
			for _, z := range h.zones {
				z.limiter.settle(ctx, settleBatch)
				z.limiter.permits.keep(ctx, uint32(z.Concurrent), z.limiter.store(), z.limiter.clock)
			}
		}
	}
}

// Cleanup gives back what this Provision took.
func (h *Handler) Cleanup() error {
	if h.stop != nil {
		h.stop()
	}
	var errs []error
	for _, z := range h.zones {
		if z.pooled == "" {
			continue
		}
		if !h.DisableMetrics {
			zones.hide(z.limiter.state)
		}
		_, err := states.Delete(z.pooled)
		errs = append(errs, err)
	}
	if h.fleet != nil {
		_, err := fleets.Delete(h.redis)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
