package ratelimit

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

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
