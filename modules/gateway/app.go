// Package gateway is the ground floor of Fairway: what its modules share and
// nothing else. It holds the `fairway` app with its Redis client, the registry
// of parts that the admin API shows, and the names under which modules leave
// facts for each other on a request.
//
//	{
//		fairway {
//			redis redis://127.0.0.1:6379/0 {
//				timeout 20ms
//			}
//		}
//	}
//
// Modules import this package; it imports none of them, and none of them
// imports another. Without a `redis` line there is no client, and every module
// works on this process's memory alone.
package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2"
)

// AppID is the name of the app in Caddy's JSON config: apps.fairway.
const AppID = "fairway"

func init() {
	caddy.RegisterModule(new(App))
}

// App holds what all Fairway modules of one config share. It exists once per
// config, with defaults if the config does not mention it.
type App struct {
	// The Redis that several gateways share. Default: none; every module then
	// works on this process's memory alone.
	RedisConfig *RedisConfig `json:"redis,omitempty"`

	// Whether `fault` blocks may be used, which make the gateway fail on
	// purpose. Default: false; a config with such a block is then refused.
	AllowFaults bool `json:"allow_faults,omitempty"`

	redis *Redis
	parts registry
}

// CaddyModule returns the Caddy module information.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: AppID, New: func() caddy.Module { return new(App) }}
}

// From returns the app of the config that is being provisioned. Call it in
// Provision only: an app must not be kept beyond its config.
func From(ctx caddy.Context) (*App, error) {
	app, err := ctx.App(AppID)
	if err != nil {
		return nil, err
	}
	a, ok := app.(*App)
	if !ok {
		return nil, fmt.Errorf("app %q is a %T, not Fairway's", AppID, app)
	}
	return a, nil
}

// Active returns the app of the running config, or nil if there is none. The
// admin API asks for it on every request, because it outlives configs.
func Active() *App {
	app, err := caddy.ActiveContext().AppIfConfigured(AppID)
	if err != nil {
		return nil
	}
	a, _ := app.(*App)
	return a
}

// Provision takes hold of the shared Redis client. It does not wait for Redis:
// a config loads whether or not Redis is there.
func (a *App) Provision(ctx caddy.Context) error {
	if err := RegisterMetrics(ctx, redisCollectors()...); err != nil {
		return err
	}
	if a.RedisConfig == nil {
		return nil
	}
	settings, err := a.RedisConfig.resolve()
	if err != nil {
		return fmt.Errorf("fairway: redis: %w", err)
	}
	if settings == nil {
		return nil
	}
	if a.redis, err = openRedis(settings); err != nil {
		return fmt.Errorf("fairway: redis: %w", err)
	}
	return a.parts.add(a.redis)
}

// Start has the process collect no garbage before it is worth it. All else that
// the app offers is ready once it is provisioned.
func (a *App) Start() error {
	holdHeapFloor()
	return nil
}

// Stop does nothing: modules of this config may still be finishing requests,
// so the Redis client is given back in Cleanup.
func (a *App) Stop() error { return nil }

// Cleanup gives back what this Provision took.
func (a *App) Cleanup() error {
	if a.redis == nil {
		return nil
	}
	return a.redis.release()
}

// Redis returns the shared client, or nil if the config names no Redis.
func (a *App) Redis() *Redis { return a.redis }

// Register makes a part visible in the admin API for the life of this config.
// It returns an error if a part of that kind and name is there already.
func (a *App) Register(p Part) error { return a.parts.add(p) }

// Parts returns the registered parts, ordered by kind and name.
func (a *App) Parts() []Part { return a.parts.list() }

// nodeID names this process among the gateways of a fleet.
var nodeID = func() string {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(errors.Join(errors.New("no randomness for a node id"), err))
	}
	return hex.EncodeToString(b[:])
}()

// NodeID returns an identifier of this process that is unique in the fleet and
// stays the same over reloads, but not over restarts.
func (a *App) NodeID() string { return nodeID }

var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
