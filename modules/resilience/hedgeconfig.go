package resilience

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// HedgeConfig says when a second request is sent while the first is still
// without an answer; the first good answer is used. Only requests without a
// body and with an idempotent method are hedged.
type HedgeConfig struct {
	// When to send another: after a fixed time ("50ms"), or after the time that
	// the given percentage of calls does not exceed ("p95"). Required.
	After string `json:"after"`

	// How many more are sent at most. Default: 1.
	Max int `json:"max,omitempty"`
}

// hedgeRules is a HedgeConfig that has been read.
type hedgeRules struct {
	quantile float64 // 0 to 1; zero with a fixed delay
	delay    time.Duration
	max      int
}

func (c *HedgeConfig) rules() (*hedgeRules, error) {
	if c == nil {
		return nil, nil
	}
	r := &hedgeRules{max: or(c.Max, 1)}
	if r.max < 1 || r.max > 5 {
		return nil, fmt.Errorf("hedge: max must be from 1 to 5, got %d", c.Max)
	}
	if percent, ok := strings.CutPrefix(c.After, "p"); ok {
		v, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(v >= 50 && v < 100) {
			return nil, fmt.Errorf("hedge: %q is not a percentile from p50 to p99.9", c.After)
		}
		r.quantile = v / 100
		return r, nil
	}
	v, err := caddy.ParseDuration(c.After)
	if err != nil || v <= 0 {
		return nil, fmt.Errorf("hedge: %q is neither a duration such as 50ms nor a percentile such as p95", c.After)
	}
	r.delay = v
	return r, nil
}

// unmarshalCaddyfile reads the rest of the line:
//
//	hedge <duration|percentile> [max <n>]
func (c *HedgeConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args := newWords(d, "hedge")
	if !args.next() {
		return d.ArgErr()
	}
	c.After = args.word()
	for args.next() {
		if args.word() != "max" {
			return args.unknown()
		}
		if err := args.count(&c.Max); err != nil {
			return err
		}
	}
	if _, err := c.rules(); err != nil {
		return d.Err(err.Error())
	}
	return nil
}
