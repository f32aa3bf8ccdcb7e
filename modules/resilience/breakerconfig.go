package resilience

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// maxCount bounds every count in a breaker's rule: watchers keep a bit each.
const maxCount = 100_000

// BreakerConfig says when a breaker opens and how it closes again. Several
// conditions may be given; the first to hold opens it.
type BreakerConfig struct {
	// Whether there is no breaker at all. Default: false.
	Off bool `json:"off,omitempty"`

	// How many failures in a row open the breaker. Default: 5 if no other
	// condition is given.
	Failures int `json:"failures,omitempty"`

	// The share of failures within Window that opens the breaker. Default:
	// none.
	ErrorRate Percent `json:"error_rate,omitempty"`

	// The share of calls within Window that take at least Over to answer and
	// open the breaker. Default: none.
	Slow Percent `json:"slow,omitempty"`

	// From which time on a call is slow. Required with Slow.
	Over caddy.Duration `json:"over,omitempty"`

	// How many calls Window must hold before a share counts. Default: 20.
	Min int `json:"min,omitempty"`

	// The time over which shares are taken. Default: 10s.
	Window caddy.Duration `json:"window,omitempty"`

	// How long calls are refused before the first probe. Default: 60s.
	Open caddy.Duration `json:"open,omitempty"`

	// How many probes a half-open breaker lets through; all of them must
	// succeed to close it. Default: 1.
	Probes int `json:"probes,omitempty"`

	// After closing, the upstream gets a tenth of its requests at first and all
	// of them after this time, if another one can take the rest. Default: all
	// at once.
	Ramp caddy.Duration `json:"ramp,omitempty"`
}

// rule returns the rule with its defaults. A breaker that is off has a rule
// without conditions, which never opens.
func (c *BreakerConfig) rule() Rule {
	if c == nil {
		c = new(BreakerConfig)
	}
	r := Rule{
		Failures:  uint(c.Failures),
		ErrorRate: c.ErrorRate.Share(),
		SlowRate:  c.Slow.Share(),
		SlowOver:  time.Duration(c.Over),
		Min:       uint(or(c.Min, 20)),
		Window:    time.Duration(or(c.Window, caddy.Duration(10*time.Second))),
		Open:      time.Duration(or(c.Open, caddy.Duration(time.Minute))),
		Probes:    uint(or(c.Probes, 1)),
		Ramp:      time.Duration(c.Ramp),
	}
	if !c.Off && r.Failures == 0 && r.ErrorRate == 0 && r.SlowRate == 0 {
		r.Failures = 5
	}
	return r
}

// or returns v, or the default if v is zero.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func (c *BreakerConfig) validate() error {
	if c == nil {
		return nil
	}
	if c.Off && *c != (BreakerConfig{Off: true}) {
		return errors.New("breaker: off goes with nothing else")
	}
	for _, n := range []struct {
		field string
		value int
	}{{"failures", c.Failures}, {"min", c.Min}, {"probes", c.Probes}} {
		if n.value < 0 || n.value > maxCount {
			return fmt.Errorf("breaker: %s must be from 1 to %d, got %d", n.field, maxCount, n.value)
		}
	}
	if (c.Slow > 0) != (c.Over > 0) {
		return fmt.Errorf("breaker: slow and over go together, got slow %s over %s", c.Slow, time.Duration(c.Over))
	}
	if rates := c.ErrorRate > 0 || c.Slow > 0; !rates && (c.Min != 0 || c.Window != 0) {
		return errors.New("breaker: min and window mean something only with error_rate or slow")
	}
	return c.validateTimes()
}

func (c *BreakerConfig) validateTimes() error {
	if c.Window != 0 && c.Window < caddy.Duration(100*time.Millisecond) {
		return fmt.Errorf("breaker: window must be at least 100ms, got %s", time.Duration(c.Window))
	}
	if c.Ramp < 0 {
		return fmt.Errorf("breaker: ramp must be positive, got %s", time.Duration(c.Ramp))
	}
	if c.Open < 0 {
		return fmt.Errorf("breaker: open must be positive, got %s", time.Duration(c.Open))
	}
	return nil
}

// unmarshalCaddyfile reads the rest of the line:
//
//	breaker off
//	breaker [<n> failures] [error_rate <percent>] [slow <percent> over <duration>]
//	        [min <calls>] [window <duration>] [open <duration>] [probes <n>] [ramp <duration>]
func (c *BreakerConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args := newWords(d, "breaker")
	if args.rest() == 0 {
		return d.ArgErr()
	}
	for args.next() {
		var err error
		switch word := args.word(); word {
		case "off":
			c.Off = true
		case "error_rate":
			err = args.percent(&c.ErrorRate)
		case "slow":
			err = args.percent(&c.Slow)
		case "over":
			err = args.duration(&c.Over)
		case "min":
			err = args.count(&c.Min)
		case "window":
			err = args.duration(&c.Window)
		case "open":
			err = args.duration(&c.Open)
		case "probes":
			err = args.count(&c.Probes)
		case "ramp":
			err = args.duration(&c.Ramp)
		default:
			err = c.failures(args)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// failures reads "5 failures", where the number stands first.
func (c *BreakerConfig) failures(args *words) error {
	n, err := strconv.Atoi(args.word())
	if err != nil {
		return args.unknown()
	}
	if n < 1 || !args.next() || args.word() != "failures" || c.Failures != 0 {
		return args.d.Errf("breaker: write the number of failures in a row as in %q, got %q", "5 failures", strconv.Itoa(n))
	}
	c.Failures = n
	return nil
}
