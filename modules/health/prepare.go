package health

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// reserved are members of the answer that a check must not be called.
var reserved = []string{"status", "timestamp", "checks"}

// prepare makes runnable checks of the configured ones. It takes nothing that
// has to be given back but idle connections.
func (h *Handler) prepare(app *gateway.App) error {
	var names []string
	for i := range h.Checks {
		cfg := &h.Checks[i]
		if err := cfg.complete(); err != nil {
			return fmt.Errorf("check %q: %w", cfg.Name, err)
		}
		if slices.Contains(names, cfg.Name) {
			return fmt.Errorf("check %q is given twice", cfg.Name)
		}
		names = append(names, cfg.Name)
		ask, err := h.question(cfg, app)
		if err != nil {
			return fmt.Errorf("check %q: %w", cfg.Name, err)
		}
		if ask == nil {
			continue
		}
		h.checks = append(h.checks, &check{
			name: cfg.Name, needed: *cfg.Needed, timeout: time.Duration(cfg.Timeout),
			maxAge: maxAge, ask: ask, now: time.Now, report: h.note,
		})
	}
	return nil
}

// complete fills in defaults and refuses what contradicts itself.
func (c *Check) complete() error {
	if err := c.checkSubject(); err != nil {
		return err
	}
	if slices.Contains(reserved, c.Name) {
		return fmt.Errorf("the name %q is a member of every answer", c.Name)
	}
	if c.Timeout < 0 {
		return fmt.Errorf("timeout must be positive, got %s", time.Duration(c.Timeout))
	}
	if c.Timeout == 0 {
		c.Timeout = caddy.Duration(DefaultTimeout)
	}
	if c.Needed == nil {
		needed := c.Kind != "redis" && c.Kind != "breakers"
		c.Needed = &needed
	}
	return nil
}

// checkSubject sees to it that a check says whom to ask, and nothing that
// belongs to another kind.
func (c *Check) checkSubject() error {
	if c.Kind != "disk" && (c.Path != "" || c.MinFree != "") {
		return fmt.Errorf("%s has no path and no min_free, got %q and %q: they are for disk", c.Kind, c.Path, c.MinFree)
	}
	switch c.Kind {
	case "redis", "breakers", "keys":
		if c.URL != "" {
			return fmt.Errorf("%s has no url, got %q", c.Kind, c.URL)
		}
		if c.Name == "" {
			c.Name = c.Kind
		}
	case "upstream", "http":
		if c.Name == "" || c.URL == "" {
			return fmt.Errorf("%s wants a name and a URL, got %q and %q", c.Kind, c.Name, c.URL)
		}
	case "disk":
		if c.Name == "" || c.Path == "" || c.URL != "" {
			return fmt.Errorf("disk wants a name and a path, got %q and %q", c.Name, c.Path)
		}
	default:
		return fmt.Errorf("unknown kind %q: want redis, upstream, http, disk, breakers or keys", c.Kind)
	}
	return nil
}

// question returns what to ask, nil if there is nothing: a redis check without
// a Redis, or a URL that is off.
func (h *Handler) question(c *Check, app *gateway.App) (func(context.Context) error, error) {
	switch c.Kind {
	case "redis":
		if app.Redis() == nil {
			return nil, nil
		}
		return pingRedis(app.Redis()), nil
	case "breakers", "keys":
		return askParts(app, c.Kind), nil
	case "disk":
		path, err := caddy.NewReplacer().ReplaceOrErr(c.Path, true, true)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", c.Path, err)
		}
		d, err := newDiskCheck(path, c.MinFree)
		if err != nil {
			return nil, err
		}
		return d.ask, nil
	}
	return h.askURL(c)
}

func (h *Handler) askURL(c *Check) (func(context.Context) error, error) {
	url, err := caddy.NewReplacer().ReplaceOrErr(c.URL, true, true)
	if err != nil {
		return nil, fmt.Errorf("url %q: %w", c.URL, err)
	}
	if url == off {
		return nil, nil
	}
	q, err := newHTTPCheck(url)
	if err != nil {
		return nil, fmt.Errorf("url %q: %w", c.URL, err)
	}
	h.clients = append(h.clients, q)
	return q.ask, nil
}

func pingRedis(r *gateway.Redis) func(context.Context) error {
	return func(ctx context.Context) error {
		err := r.Do(ctx, func(ctx context.Context, c redis.Cmdable) error { return c.Ping(ctx).Err() })
		if errors.Is(err, gateway.ErrRedisDown) {
			return err
		}
		if err != nil {
			return errors.New("redis did not answer in time")
		}
		return nil
	}
}
