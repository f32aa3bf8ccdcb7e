package gateway

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	httpcaddyfile.RegisterGlobalOption(AppID, parseGlobalOption)
}

func parseGlobalOption(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		return nil, d.Err("the fairway global option is given twice")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: AppID, Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads the global option:
//
//	fairway {
//		redis <url>|off {
//			timeout   <duration>
//			pool_size <n>
//			tls_ca    <file>
//		}
//		allow_faults
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume "fairway"
	if d.NextArg() {
		return d.ArgErr()
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "redis":
			if a.RedisConfig != nil {
				return d.Err("fairway: redis is given twice")
			}
			a.RedisConfig = new(RedisConfig)
			if err := a.RedisConfig.unmarshalCaddyfile(d); err != nil {
				return err
			}
		case "allow_faults":
			if d.NextArg() {
				return d.ArgErr()
			}
			a.AllowFaults = true
		default:
			return d.Errf("fairway: unknown option %q", d.Val())
		}
	}
	return nil
}

func (c *RedisConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.URL) {
		return d.ArgErr()
	}
	if c.URL == "" {
		return d.Errf("fairway: redis: the URL is empty; write %q for none", redisOff)
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		var value string
		if !d.AllArgs(&value) {
			return d.ArgErr()
		}
		if err := c.set(d, option, value); err != nil {
			return err
		}
	}
	return nil
}

func (c *RedisConfig) set(d *caddyfile.Dispenser, option, value string) error {
	switch option {
	case "timeout":
		t, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("fairway: redis: timeout %q: %v", value, err)
		}
		c.Timeout = caddy.Duration(t)
	case "pool_size":
		n, err := parsePositive(value)
		if err != nil {
			return d.Errf("fairway: redis: pool_size %q: %v", value, err)
		}
		c.PoolSize = n
	case "tls_ca":
		c.TLSCA = value
	default:
		return d.Errf("fairway: redis: unknown option %q", option)
	}
	return nil
}

var _ caddyfile.Unmarshaler = (*App)(nil)
