package resilience

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"
)

// RetryConfig says which tries are made again. Extra tries (retries and hedges)
// come out of one budget.
type RetryConfig struct {
	// Whether nothing is tried again, not even what never reached an upstream.
	// Default: false.
	Off bool `json:"off,omitempty"`

	// How many tries a request may have beyond the first, not counting those
	// that never reached an upstream while another one was available. Required
	// unless Off.
	Max int `json:"max,omitempty"`

	// After what a request is tried again: "connect" (no connection), "reset"
	// (the connection broke before the response), "timeout" (of the try),
	// statuses and classes. Default: connect reset timeout 502 503 504.
	On []string `json:"on,omitempty"`

	// How many extra tries there may be within ten seconds, as a share of the
	// first ones. Default: 20%.
	Budget Percent `json:"budget,omitempty"`

	// How many extra tries per second the budget allows in any case. Default:
	// 3.
	Min int `json:"min,omitempty"`

	// Before the nth retry on the same upstream, or after a failure of another
	// one, a random time up to Backoff times 2^(n-1) passes, but at most
	// BackoffMax. Defaults: 25ms and 1s.
	Backoff    caddy.Duration `json:"backoff,omitempty"`
	BackoffMax caddy.Duration `json:"backoff_max,omitempty"`

	// Methods that may be tried again besides the idempotent ones (GET, HEAD,
	// OPTIONS, TRACE, PUT, DELETE). Default: none.
	Methods []string `json:"methods,omitempty"`

	// Whether a request with an Idempotency-Key header may be tried again
	// whatever its method. Default: false.
	IdempotencyKey bool `json:"idempotency_key,omitempty"`

	// Up to how many bytes a request body of known length is read in advance,
	// so that it can be sent again. Longer ones are sent once. Default: 64KiB.
	Buffer int64 `json:"buffer,omitempty"`
}

// maxBuffer bounds what a request may hold in memory.
const maxBuffer = 16 << 20

// retryRules is a RetryConfig that has been read.
type retryRules struct {
	failover bool // what never reached an upstream may go to another
	max      int
	on       [kinds]bool
	statuses [600]bool
	methods  []string
	key      bool
	backoff  time.Duration
	ceiling  time.Duration
	buffer   int64
}

// idempotent lists the methods of RFC 9110, 9.2.2.
var idempotent = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete,
}

// defaultRetryOn holds for an empty list of conditions.
var defaultRetryOn = []string{"connect", "reset", "timeout", "502", "503", "504"}

// rules returns the config with its defaults. Without a config only what never
// reached an upstream goes on to another one.
func (c *RetryConfig) rules() (*retryRules, error) {
	if c == nil {
		return &retryRules{failover: true}, nil
	}
	if c.Off {
		return &retryRules{}, nil
	}
	r := &retryRules{
		failover: true,
		max:      c.Max,
		methods:  append(slices.Clone(idempotent), c.Methods...),
		key:      c.IdempotencyKey,
		backoff:  time.Duration(or(c.Backoff, caddy.Duration(25*time.Millisecond))),
		ceiling:  time.Duration(or(c.BackoffMax, caddy.Duration(time.Second))),
		buffer:   or(c.Buffer, 64<<10),
	}
	on := c.On
	if len(on) == 0 {
		on = defaultRetryOn
	}
	for _, word := range on {
		if err := r.add(word); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *retryRules) add(word string) error {
	switch word {
	case "connect":
		r.on[connect] = true
	case "reset":
		r.on[reset] = true
	case "timeout":
		r.on[timeout] = true
	default:
		r.on[badStatus] = true
		if err := addStatus(&r.statuses, word); err != nil {
			return fmt.Errorf("retry: on: %w, %q, %q or %q", err, "connect", "reset", "timeout")
		}
	}
	return nil
}

// status says whether a response is to be tried again.
func (r *retryRules) status(code int) bool {
	return r.on[badStatus] && code >= 0 && code < len(r.statuses) && r.statuses[code]
}

// allows says whether a request may reach upstreams more than once.
func (r *retryRules) allows(req *http.Request) bool {
	return r.max > 0 && (slices.Contains(r.methods, req.Method) || r.key && req.Header.Get("Idempotency-Key") != "")
}

func (c *RetryConfig) validate() error {
	switch {
	case c == nil:
		return nil
	case c.Off:
		if c.Max != 0 || len(c.On) > 0 || c.Budget != 0 || c.Min != 0 || c.Backoff != 0 || c.BackoffMax != 0 ||
			len(c.Methods) > 0 || c.IdempotencyKey || c.Buffer != 0 {
			return errors.New("retry: off goes with nothing else")
		}
		return nil
	case c.Max < 1 || c.Max > 10:
		return fmt.Errorf("retry: max must be from 1 to 10, got %d", c.Max)
	case c.Min < 0 || c.Min > maxCount:
		return fmt.Errorf("retry: min must be from 1 to %d, got %d", maxCount, c.Min)
	case c.Backoff < 0 || c.BackoffMax < 0:
		return fmt.Errorf("retry: backoff must be positive, got %s and %s", time.Duration(c.Backoff), time.Duration(c.BackoffMax))
	case c.Buffer < 0 || c.Buffer > maxBuffer:
		return fmt.Errorf("retry: buffer must be from 1 to %d bytes, got %d", maxBuffer, c.Buffer)
	}
	for _, m := range c.Methods {
		if m == "" || m != strings.ToUpper(m) {
			return fmt.Errorf("retry: methods must be in capitals, got %q", m)
		}
	}
	_, err := c.rules()
	return err
}

// unmarshalCaddyfile reads the option:
//
//	retry off
//	retry <max> [on <condition>...] [budget <percent>] [min <per second>] {
//		backoff <base> [<max>]
//		methods <method>...
//		idempotency_key
//		buffer  <size>
//	}
func (c *RetryConfig) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	args := newWords(d, "retry")
	if !args.next() {
		return d.ArgErr()
	}
	if args.word() == "off" {
		c.Off = true
	} else if err := parseCount(args.word(), &c.Max); err != nil {
		return d.Errf("retry: %v", err)
	}
	for args.next() {
		if err := c.unmarshalWord(args); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if seen[option] {
			return d.Errf("retry: %s is given twice", option)
		}
		seen[option] = true
		if err := c.unmarshalOption(d, option); err != nil {
			return err
		}
	}
	return nil
}

func (c *RetryConfig) unmarshalWord(args *words) error {
	switch args.word() {
	case "on":
		if len(c.On) > 0 {
			return args.d.Err("retry: on is given twice")
		}
		c.On = args.list("budget", "min")
		if len(c.On) == 0 {
			return args.d.Err("retry: on has no value")
		}
		return nil
	case "budget":
		return args.percent(&c.Budget)
	case "min":
		return args.count(&c.Min)
	}
	return args.unknown()
}

func (c *RetryConfig) unmarshalOption(d *caddyfile.Dispenser, option string) error {
	values := d.RemainingArgs()
	switch option {
	case "backoff":
		if len(values) < 1 || len(values) > 2 {
			return d.ArgErr()
		}
		for i, to := range []*caddy.Duration{&c.Backoff, &c.BackoffMax}[:len(values)] {
			if err := parseDuration(values[i], to); err != nil {
				return d.Errf("retry: backoff: %v", err)
			}
		}
	case "methods":
		if c.Methods = values; len(values) == 0 {
			return d.ArgErr()
		}
	case "idempotency_key":
		if c.IdempotencyKey = true; len(values) > 0 {
			return d.ArgErr()
		}
	case "buffer":
		if len(values) != 1 {
			return d.ArgErr()
		}
		n, err := humanize.ParseBytes(values[0])
		if err != nil || n == 0 || n > maxBuffer {
			return d.Errf("retry: buffer: %q is not a size from 1B to 16MiB", values[0])
		}
		c.Buffer = int64(n)
	default:
		return d.Errf("retry: unknown option %q", option)
	}
	return nil
}
