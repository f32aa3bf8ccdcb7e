package resilience

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// PriorityConfig sorts requests into classes by the value of a placeholder.
// When a bulkhead is full, higher classes get places first, and a full queue
// gives up one of a lower class for one of a higher.
type PriorityConfig struct {
	// The text, with placeholders, whose value decides. Required.
	By string `json:"by"`

	// The values of the classes. All others are normal.
	High []string `json:"high,omitempty"`
	Low  []string `json:"low,omitempty"`

	key string // of By if that is one placeholder and nothing else
}

// provision finds out whether the value can be looked up by itself.
func (c *PriorityConfig) provision() {
	if c == nil {
		return
	}
	if key := strings.TrimSuffix(strings.TrimPrefix(c.By, "{"), "}"); "{"+key+"}" == c.By && !strings.ContainsAny(key, `{}\`) {
		c.key = key
	}
}

func (c *PriorityConfig) validate() error {
	if c == nil {
		return nil
	}
	if !strings.Contains(c.By, "{") {
		return fmt.Errorf("priority: by must hold a placeholder such as {http.auth.user.plan}, got %q", c.By)
	}
	if len(c.High)+len(c.Low) == 0 {
		return fmt.Errorf("priority: %s has no values that are high or low", c.By)
	}
	for _, v := range c.High {
		if slices.Contains(c.Low, v) {
			return fmt.Errorf("priority: %q is high and low", v)
		}
	}
	return nil
}

// class returns the class of a request.
func (c *PriorityConfig) class(r *http.Request) Priority {
	if c == nil {
		return Normal
	}
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return Normal
	}
	switch v := c.value(repl); {
	case slices.Contains(c.High, v):
		return High
	case slices.Contains(c.Low, v):
		return Low
	}
	return Normal
}

func (c *PriorityConfig) value(repl *caddy.Replacer) string {
	if c.key == "" {
		return repl.ReplaceAll(c.By, "")
	}
	v, _ := repl.GetString(c.key)
	return v
}

// unmarshalCaddyfile reads the block:
//
//	priority <placeholder> {
//		high <value>...
//		low  <value>...
//	}
func (c *PriorityConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if !d.AllArgs(&c.By) {
		return d.ArgErr()
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		class, values := d.Val(), d.RemainingArgs()
		if len(values) == 0 {
			return d.ArgErr()
		}
		switch class {
		case "high":
			c.High = append(c.High, values...)
		case "low":
			c.Low = append(c.Low, values...)
		default:
			return d.Errf("priority: %q is neither %q nor %q", class, "high", "low")
		}
	}
	if err := c.validate(); err != nil {
		return d.Err(err.Error())
	}
	return nil
}
