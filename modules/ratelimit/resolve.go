package ratelimit

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

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
	for tier, rates := range sets {
		set, err := z.newSet(tier, rates, s)
		if err != nil {
			return err
		}
		z.tiers[tier] = set
		set.header = policyHeader(set)
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
