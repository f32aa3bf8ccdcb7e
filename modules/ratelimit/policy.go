package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
)

const (
	// maxPolicies is how many windows may limit one key at once.
	maxPolicies = 4

	// maxEvents bounds a limit, so that sums of counts stay within 32 bits.
	maxEvents = 1_000_000_000

	// maxWindow keeps Redis TIME plus a window within the integers that Lua
	// can represent.
	maxWindow = 366 * 24 * time.Hour

	defaultSlots = 12
	maxSlots     = 120
)

// Rate is so many events in so much time. In a Caddyfile, and as a JSON string,
// it is written 100/15m.
type Rate struct {
	// How many events are admitted within the window. Zero admits none.
	Events int64 `json:"events"`

	// The length of the window: any interval of this length, not one that
	// begins at a full minute or hour.
	Window caddy.Duration `json:"window"`
}

// ParseRate reads a rate such as 100/15m.
func ParseRate(s string) (Rate, error) {
	events, window, ok := strings.Cut(s, "/")
	if !ok {
		return Rate{}, fmt.Errorf("rate %q: want events/window, such as 100/15m", s)
	}
	n, err := strconv.ParseInt(events, 10, 64)
	if err != nil {
		return Rate{}, fmt.Errorf("rate %q: events %q: want a whole number", s, events)
	}
	w, err := caddy.ParseDuration(window)
	if err != nil {
		return Rate{}, fmt.Errorf("rate %q: window %q: want a duration such as 15m", s, window)
	}
	r := Rate{Events: n, Window: caddy.Duration(w)}
	if err := r.check(); err != nil {
		return Rate{}, fmt.Errorf("rate %q: %w", s, err)
	}
	return r, nil
}

// check applies the bounds. An unset window is the caller's business.
func (r Rate) check() error {
	switch w := time.Duration(r.Window); {
	case r.Events < 0 || r.Events > maxEvents:
		return fmt.Errorf("events must be 0 to %d, got %d", maxEvents, r.Events)
	case w <= 0:
		return fmt.Errorf("window must be positive, got %s", w)
	case w < time.Millisecond:
		return fmt.Errorf("window must be at least 1ms, got %s", w)
	case w > maxWindow:
		return fmt.Errorf("window must be at most %s, got %s", maxWindow, w)
	}
	return nil
}

// String writes the rate as ParseRate reads it.
func (r Rate) String() string {
	return strconv.FormatInt(r.Events, 10) + "/" + shortDuration(time.Duration(r.Window))
}

// UnmarshalJSON accepts {"events":100,"window":"15m"} and "100/15m".
func (r *Rate) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		s, err := strconv.Unquote(string(b))
		if err != nil {
			return errors.New("malformed rate")
		}
		*r, err = ParseRate(s)
		return err
	}
	type plain Rate
	return strictUnmarshal(b, (*plain)(r))
}

// shortDuration is Duration.String without the trailing zeros: 15m, not 15m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	if h := int64(d / time.Hour); d%(24*time.Hour) == 0 && h > 0 {
		return strconv.FormatInt(h/24, 10) + "d"
	}
	return s
}

// policy is a rate as the algorithms use it. Times are whole microseconds.
type policy struct {
	limit  uint32
	window int64
	slots  int64
	width  int64 // of a slot: the window over the slots, rounded up
	id     uint32

	rate Rate
	name string // in headers and snapshots, unique among a zone's policies
}

func newPolicy(r Rate, slots int, name string) policy {
	window := time.Duration(r.Window).Microseconds()
	width := (window + int64(slots) - 1) / int64(slots)
	return policy{
		limit:  uint32(r.Events),
		window: window,
		slots:  int64(slots),
		width:  width,
		// The limit is no part of the identity: a reload that changes it keeps
		// the counts, and so does a user who changes plan.
		id:   uint32(mix64(uint64(window)*2654435761 ^ uint64(slots)<<56)),
		rate: r,
		name: name,
	}
}

// interval is the time that one event takes up under gcra, rounded up, so that
// rounding never admits more. A limit of zero, which admits none, has the whole
// window, as in Redis.
func (p *policy) interval() int64 {
	if p.limit == 0 {
		return p.window
	}
	return (p.window + int64(p.limit) - 1) / int64(p.limit)
}

// maxSpan, in µs, is so far from any time that sums with it do not overflow.
const maxSpan = 1 << 61

// span is the time that so many events take up under gcra.
func (p *policy) span(cost uint32) int64 {
	step := p.interval()
	return step * min(int64(cost), maxSpan/step)
}

// policySet is what limits a key: all of its policies admit an event, or none
// is charged. It is immutable and comes from the config.
type policySet struct {
	policies []policy
	gcra     bool
	id       uint32 // of the windows, not of the limits
	limits   uint64 // of the limits too
	minWidth int64

	tier   string // the name of the tier; empty for the zone's own rates
	header string // the items of RateLimit-Policy
}

func newPolicySet(zone, tier string, rates []Rate, slots int, gcra bool) (*policySet, error) {
	if len(rates) > maxPolicies {
		return nil, fmt.Errorf("at most %d windows can limit one key, got %d", maxPolicies, len(rates))
	}
	s := &policySet{gcra: gcra, tier: tier, minWidth: math.MaxInt64}
	for _, r := range rates {
		name := zone
		if len(rates) > 1 {
			name += "-" + shortDuration(time.Duration(r.Window))
		}
		p := newPolicy(r, slots, name)
		for j := range s.policies {
			if s.policies[j].id == p.id { // to the µs; they would be one record
				return nil, fmt.Errorf("%s and %s have the same window: give one of them", s.policies[j].rate, r)
			}
		}
		if gcra && p.limit > 0 && p.window/int64(p.limit) < 10 {
			return nil, fmt.Errorf("algorithm gcra: rate %s is above one event in 10µs", r)
		}
		s.policies = append(s.policies, p)
		s.id = uint32(mix64(uint64(s.id)<<32 | uint64(p.id)))
		s.limits = mix64(s.limits ^ uint64(p.id)<<32 ^ uint64(p.limit))
		s.minWidth = min(s.minWidth, p.width)
	}
	return s, nil
}

// permissiveness orders zones from the tightest to the loosest.
func (s *policySet) permissiveness() float64 {
	least := math.Inf(1)
	for i := range s.policies {
		p := &s.policies[i]
		least = min(least, float64(p.limit)/float64(p.window))
	}
	return least
}

// mix64 spreads the bits of x (the finalizer of splitmix64).
func mix64(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
