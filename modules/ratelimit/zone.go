package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Zone is one named limit: which requests it concerns, what tells clients apart,
// and how many events each may cause. Zones of the same name count together,
// wherever in the config they stand.
type Zone struct {
	// Matchers of the requests that the zone concerns. Default: all.
	MatcherSetsRaw caddyhttp.RawMatcherSets `json:"match,omitempty" caddy:"namespace=http.matchers"`

	// Matchers of requests that are let through without being counted.
	ExemptRaw caddyhttp.RawMatcherSets `json:"exempt,omitempty" caddy:"namespace=http.matchers"`

	// What is limited separately: a text with placeholders, such as
	// {http.vars.client_ip}. Default: empty, one limit for the whole zone.
	Key string `json:"key,omitempty"`

	// What happens if all placeholders of the key are empty: deny refuses the
	// request and logs the placeholder, skip lets it through uncounted, share
	// counts all such requests together. Default: deny; in a handler with
	// options that only caddy-ratelimit has, share, as there.
	OnEmpty string `json:"on_empty,omitempty"`

	// How many bits of an IP address in the key count. 24 puts a whole /24
	// into one limit. Default: 0, all bits.
	IPv4Prefix int `json:"ipv4_prefix,omitempty"`

	// The same for IPv6, where clients usually own a /64.
	IPv6Prefix int `json:"ipv6_prefix,omitempty"`

	// How many events are admitted in any window. Zero admits none.
	Events *int64 `json:"events,omitempty"`

	// The name of events in caddy-ratelimit.
	MaxEvents *int64 `json:"max_events,omitempty"`

	// The length of the window that events belongs to.
	Window caddy.Duration `json:"window,omitempty"`

	// Further rates, or all of them, such as "100/15m". A request is charged
	// under all rates or, if one refuses, under none.
	Rate []Rate `json:"rate,omitempty"`

	// Different rates for different clients.
	Tier *Tier `json:"tier,omitempty"`

	// How many requests of a key may be under way at once. Default: 0, any
	// number. Such a zone needs no rate.
	Concurrent int `json:"concurrent,omitempty"`

	// How many events a request is: a number, or a placeholder that yields
	// one. Zero is free; what is no number is 1. Default: 1.
	Cost string `json:"cost,omitempty"`

	// Count only requests whose response is like this. The event is charged
	// before, and refunded if the response is different.
	CountIf *CountIf `json:"count_if,omitempty"`

	// Refuse everything from a key that was refused too often.
	Ban *Ban `json:"ban,omitempty"`

	// enforce, or shadow: decide, count and log, but never refuse. Default:
	// enforce.
	Mode string `json:"mode,omitempty"`

	// sliding never admits more than the limit in any window. gcra spreads
	// events evenly, but admits up to twice the limit in a window that begins
	// with a burst. Default: sliding.
	Algorithm string `json:"algorithm,omitempty"`

	// Into how many slots sliding divides a window, 1 to 120. A saturated key
	// gets slots/(slots+1) of its limit; each slot costs 4 bytes per key.
	// Default: 12.
	Slots int `json:"slots,omitempty"`

	// With Redis, how many events a node may take at once to spend them
	// without asking: auto by demand, off asks for every request, a number
	// takes that many. Default: auto.
	Lease string `json:"lease,omitempty"`

	// What decides while Redis does not answer: local is this process with its
	// share of the limit, allow admits everything, deny refuses everything.
	// Default: local.
	OnError string `json:"on_error,omitempty"`

	// How many keys the zone holds in this process. Default: 1000000.
	MaxKeys int `json:"max_keys,omitempty"`

	// What happens to a new key when there is no room: carry moves the counts
	// of another key into a record that it shares with others, so that it may
	// be refused too early but never too late; deny refuses new keys. Default:
	// carry.
	OnFull string `json:"on_full,omitempty"`

	name     string
	matchers caddyhttp.MatcherSets
	exempt   caddyhttp.MatcherSets
	key      keyTemplate
	cost     costTemplate
	onEmpty  emptyKey
	base     *policySet
	tiers    map[string]*policySet
	shadow   bool
	headers  map[*policySet]string // the items of RateLimit-Policy
	bounds   bounds
	limiter  *limiter
	pooled   string

	emptyLogged atomic.Int64 // when, in s
}

// Tier gives clients rates by the value of a placeholder, such as a claim.
type Tier struct {
	// The placeholder, such as {http.auth.user.plan}.
	Value string `json:"value"`

	// The rates of each value. "*" is for all others; without it they get the
	// zone's own rates.
	Rates map[string][]Rate `json:"rates"`
}

// CountIf says which responses make a request count.
type CountIf struct {
	// Status codes; a single digit stands for a class, 4 for 400 to 499.
	Status []int `json:"status"`
}

// Ban says when a key is banned and for how long.
type Ban struct {
	// The length of the ban.
	Duration caddy.Duration `json:"duration"`

	// How many refusals bring it.
	Denials int64 `json:"denials"`

	// Within which time.
	Within caddy.Duration `json:"within"`
}

const (
	defaultMaxKeys = 1_000_000
	minMaxKeys     = 1024
	maxMaxKeys     = 100_000_000
)

// emptyKey is what to do about a key without content.
type emptyKey uint8

const (
	emptyDeny emptyKey = iota
	emptySkip
	emptyShare
)

// choice returns the index of a word among the allowed ones; empty is the first.
func choice(field, value string, allowed ...string) (int, error) {
	if value == "" {
		return 0, nil
	}
	for i, word := range allowed {
		if value == word {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s %q: want %s", field, value, strings.Join(allowed, ", "))
}

// settings is what a zone's config means, before anything live is touched.
type settings struct {
	gcra    bool
	slots   int
	lease   leasing
	ban     banRule
	outage  outage
	caddyRL bool // the handler is configured for caddy-ratelimit
}

// resolve checks the config and computes what it means.
func (z *Zone) resolve(name string, caddyRL bool) (*settings, error) {
	z.name = name
	if name == "" {
		return nil, errors.New("a zone needs a name")
	}
	for _, c := range name {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return nil, fmt.Errorf("name %q: want printable ASCII without quotes and backslashes", name)
		}
	}
	s := &settings{caddyRL: caddyRL}
	for _, step := range []func(*settings) error{z.resolveKey, z.resolveModes, z.resolveRates, z.resolveCost, z.resolveBan, z.resolveBounds} {
		if err := step(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (z *Zone) resolveKey(s *settings) error {
	if z.IPv4Prefix < 0 || z.IPv4Prefix > 32 {
		return fmt.Errorf("ipv4_prefix must be 0 to 32, got %d", z.IPv4Prefix)
	}
	if z.IPv6Prefix < 0 || z.IPv6Prefix > 128 {
		return fmt.Errorf("ipv6_prefix must be 0 to 128, got %d", z.IPv6Prefix)
	}
	var err error
	if z.key, err = parseKeyTemplate(z.Key); err != nil {
		return fmt.Errorf("key: %w", err)
	}
	z.key.ipv4, z.key.ipv6 = z.IPv4Prefix, z.IPv6Prefix
	i, err := choice("on_empty", z.OnEmpty, "deny", "skip", "share")
	z.onEmpty = emptyKey(i)
	if z.OnEmpty == "" && s.caddyRL {
		z.onEmpty = emptyShare
	}
	return err
}

func (z *Zone) resolveModes(s *settings) error {
	mode, err1 := choice("mode", z.Mode, "enforce", "shadow")
	algorithm, err2 := choice("algorithm", z.Algorithm, "sliding", "gcra")
	onError, err3 := choice("on_error", z.OnError, "local", "allow", "deny")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	z.shadow, s.gcra, s.outage = mode == 1, algorithm == 1, outage(onError)
	s.slots = z.Slots
	switch {
	case z.Slots == 0:
		s.slots = defaultSlots
	case z.Slots < 0 || z.Slots > maxSlots:
		return fmt.Errorf("slots must be 1 to %d, got %d", maxSlots, z.Slots)
	case s.gcra:
		return fmt.Errorf("slots %d: algorithm gcra has none", z.Slots)
	}
	switch z.Lease {
	case "", "auto":
	case "off":
		s.lease.mode = leaseOff
	default:
		n, err := strconv.ParseUint(z.Lease, 10, 32)
		if err != nil || n == 0 || n > maxEvents {
			return fmt.Errorf("lease %q: want auto, off or a number of events", z.Lease)
		}
		if s.gcra {
			return fmt.Errorf("lease %q: algorithm gcra has no leases", z.Lease)
		}
		s.lease = leasing{mode: leaseFixed, size: uint32(n)}
	}
	return nil
}

// ownRates are the zone's rates outside tiers.
func (z *Zone) ownRates() ([]Rate, error) {
	events := z.Events
	if z.MaxEvents != nil {
		if events != nil {
			return nil, errors.New("events and max_events are the same: give one")
		}
		events = z.MaxEvents
	}
	switch {
	case events == nil && z.Window == 0:
		return z.Rate, nil
	case events == nil:
		return nil, fmt.Errorf("window %s: events is missing", shortDuration(time.Duration(z.Window)))
	case z.Window == 0:
		return nil, fmt.Errorf("events %d: window is missing", *events)
	}
	return append([]Rate{{Events: *events, Window: z.Window}}, z.Rate...), nil
}

func (z *Zone) resolveRates(s *settings) error {
	own, err := z.ownRates()
	if err != nil {
		return err
	}
	sets := map[string][]Rate{}
	if len(own) > 0 {
		sets["*"] = own
	}
	if z.Tier != nil {
		if err := z.addTiers(sets); err != nil {
			return err
		}
	}
	if z.Concurrent < 0 || z.Concurrent > maxEvents {
		return fmt.Errorf("concurrent must be 0 to %d, got %d", maxEvents, z.Concurrent)
	}
	if len(sets) == 0 {
		if z.Concurrent == 0 {
			return errors.New("no limit: give events and window, rate, tier or concurrent")
		}
		z.base = &policySet{gcra: s.gcra, minWidth: math.MaxInt64}
		return nil
	}
	if sets["*"] == nil {
		return errors.New("tier: without a tier \"*\" or rates of the zone's own, other values have no limit")
	}
	z.tiers = make(map[string]*policySet, len(sets))
	z.headers = make(map[*policySet]string, len(sets))
	for tier, rates := range sets {
		set, err := z.newSet(tier, rates, s)
		if err != nil {
			return err
		}
		z.tiers[tier] = set
		z.headers[set] = policyHeader(set)
	}
	z.base = z.tiers["*"]
	return nil
}

func (z *Zone) newSet(tier string, rates []Rate, s *settings) (*policySet, error) {
	in := "rate"
	if z.Tier != nil {
		in = fmt.Sprintf("tier %q", tier)
	}
	if len(rates) == 0 {
		return nil, fmt.Errorf("%s: no rates", in)
	}
	for _, r := range rates {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("%s: %w", in, err)
		}
	}
	set, err := newPolicySet(z.name, tier, rates, s.slots, s.gcra)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in, err)
	}
	return set, nil
}

func (z *Zone) addTiers(sets map[string][]Rate) error {
	if !strings.HasPrefix(z.Tier.Value, "{") || !strings.HasSuffix(z.Tier.Value, "}") {
		return fmt.Errorf("tier %q: want a placeholder such as {http.auth.user.plan}", z.Tier.Value)
	}
	if len(z.Tier.Rates) == 0 {
		return fmt.Errorf("tier %s: no rates", z.Tier.Value)
	}
	for tier, rates := range z.Tier.Rates {
		if sets[tier] != nil {
			return fmt.Errorf("tier %q: the zone's own rates (%s) are for all other values already", tier, sets[tier])
		}
		sets[tier] = rates
	}
	return nil
}

func (z *Zone) resolveCost(*settings) (err error) {
	if z.cost, err = parseCost(z.Cost); err != nil {
		return err
	}
	if z.CountIf != nil {
		if len(z.CountIf.Status) == 0 {
			return errors.New("count_if: no status")
		}
		for _, code := range z.CountIf.Status {
			if (code < 1 || code > 5) && (code < 100 || code > 599) {
				return fmt.Errorf("count_if: status %d: want a code, or 1 to 5 for a class", code)
			}
		}
	}
	for tier, set := range z.tiers {
		for i := range set.policies {
			if p := &set.policies[i]; z.cost.placeholder == "" && p.limit > 0 && z.cost.fixed > p.limit {
				return fmt.Errorf("cost %d: above rate %s of tier %q, so that no request would ever be admitted", z.cost.fixed, p.rate, tier)
			}
		}
	}
	return nil
}

func (z *Zone) resolveBan(s *settings) error {
	if z.Ban == nil {
		return nil
	}
	duration, within := time.Duration(z.Ban.Duration), time.Duration(z.Ban.Within)
	switch {
	case duration < time.Millisecond || duration > maxWindow:
		return fmt.Errorf("ban: duration must be 1ms to %s, got %s", maxWindow, duration)
	case within < time.Millisecond || within > maxWindow:
		return fmt.Errorf("ban: within must be 1ms to %s, got %s", maxWindow, within)
	case z.Ban.Denials < 1 || z.Ban.Denials > maxEvents:
		return fmt.Errorf("ban: denials must be 1 to %d, got %d", maxEvents, z.Ban.Denials)
	}
	s.ban = banRule{threshold: uint32(z.Ban.Denials), within: within.Microseconds(), length: duration.Microseconds()}
	return nil
}

func (z *Zone) resolveBounds(*settings) error {
	i, err := choice("on_full", z.OnFull, "carry", "deny")
	if err != nil {
		return err
	}
	z.bounds = bounds{keys: z.MaxKeys, evict: i == 0}
	if z.MaxKeys == 0 {
		z.bounds.keys = defaultMaxKeys
	} else if z.MaxKeys < minMaxKeys || z.MaxKeys > maxMaxKeys {
		return fmt.Errorf("max_keys must be %d to %d, got %d", minMaxKeys, maxMaxKeys, z.MaxKeys)
	}
	return nil
}

// loadMatchers provisions the matchers.
func (z *Zone) loadMatchers(ctx caddy.Context) error {
	for field, into := range map[string]*caddyhttp.MatcherSets{"MatcherSetsRaw": &z.matchers, "ExemptRaw": &z.exempt} {
		loaded, err := ctx.LoadModule(z, field)
		if err != nil {
			return fmt.Errorf("loading matchers: %w", err)
		}
		if err := into.FromInterface(loaded); err != nil {
			return err
		}
	}
	return nil
}

// concerns reports whether the zone has a say in a request.
func (z *Zone) concerns(r *http.Request) (matched, exempt bool, err error) {
	if matched, err = z.matchers.AnyMatchWithError(r); err != nil || !matched {
		return false, false, err
	}
	if len(z.exempt) > 0 {
		exempt, err = z.exempt.AnyMatchWithError(r)
	}
	return true, exempt, err
}

// set returns the policies for a request.
func (z *Zone) set(repl *caddy.Replacer) *policySet {
	if z.Tier == nil {
		return z.base
	}
	value, _ := repl.GetString(z.Tier.Value[1 : len(z.Tier.Value)-1])
	if set := z.tiers[value]; set != nil {
		return set
	}
	return z.base
}

// counts reports whether a response of that status makes the request count.
func (z *Zone) counts(status int) bool {
	for _, code := range z.CountIf.Status {
		if caddyhttp.StatusCodeMatches(status, code) {
			return true
		}
	}
	return false
}
