package ratelimit

import (
	"context"
	"encoding/json"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// part shows a zone to operators and lets them act on its keys.
type part struct {
	zone  *Zone
	redis *gateway.Redis
}

// Kind is "rate_limit".
func (*part) Kind() string { return "rate_limit" }

// Name is the zone's.
func (p *part) Name() string { return p.zone.name }

// snapshot is what an operator sees of a zone.
type snapshot struct {
	Algorithm string              `json:"algorithm"`
	Mode      string              `json:"mode"`
	Rates     map[string][]string `json:"rates"`
	Shared    bool                `json:"shared"`
	RedisUp   *bool               `json:"redis_up,omitempty"`
	Nodes     uint32              `json:"nodes"`
	Keys      int                 `json:"keys"`
	Accounts  int                 `json:"accounts,omitempty"`
	Banned    int64               `json:"banned_here,omitempty"`
	Outcomes  map[string]uint64   `json:"outcomes"`
	DecidedBy map[string]uint64   `json:"decided_by"`
	Redis     map[string]uint64   `json:"redis_calls,omitempty"`
	Evictions uint64              `json:"evictions"`
}

// Snapshot tells the same as the metrics.
func (p *part) Snapshot() any {
	l := p.zone.limiter
	s := snapshot{
		Algorithm: "sliding", Mode: "enforce", Rates: make(map[string][]string),
		Shared: p.redis != nil, Nodes: l.fleet.size(), Keys: l.memory.table.size(), Accounts: l.accounts.size(),
		Banned: l.bans.count.Load(), Outcomes: make(map[string]uint64), DecidedBy: make(map[string]uint64),
		Evictions: l.memory.table.evicted.Load() + l.accounts.evicted.Load(),
	}
	if p.zone.base.gcra {
		s.Algorithm = "gcra"
	}
	if p.zone.shadow {
		s.Mode = "shadow"
	}
	if p.redis != nil {
		up := p.redis.Up()
		s.RedisUp = &up
		s.Redis = map[string]uint64{
			"answered": l.tally.trips.Load() - l.tally.failures.Load(),
			"failed":   l.tally.failures.Load(), "granted": l.tally.leased.Load(),
		}
	}
	for tier, set := range p.zone.tiers {
		for i := range set.policies {
			s.Rates[tier] = append(s.Rates[tier], set.policies[i].rate.String())
		}
	}
	for i, name := range outcomeNames {
		s.Outcomes[name] = l.tally.outcomes[i].Load()
	}
	for i, name := range sourceNames {
		s.DecidedBy[name] = l.tally.sources[i].Load()
	}
	return s
}

// keyArgs are the arguments of all actions.
type keyArgs struct {
	// The zone. Default: all that are asked.
	Zone string `json:"zone"`

	// The key as the zone sees it, after placeholders and prefixes.
	Key *string `json:"key"`

	// How long to ban.
	Duration caddy.Duration `json:"duration"`
}

// Act carries out lookup, reset, ban and unban of a key.
func (p *part) Act(ctx context.Context, action string, raw json.RawMessage) (any, error) {
	var act func(context.Context, keyArgs) (any, error)
	switch action {
	case "lookup":
		act = p.lookup
	case "reset":
		act = p.reset
	case "ban":
		act = p.ban
	case "unban":
		act = p.unban
	default:
		return nil, gateway.ErrUnknownAction
	}
	var args keyArgs
	if len(raw) > 0 {
		if err := strictUnmarshal(raw, &args); err != nil {
			return nil, gateway.BadArgument("arguments: %v", err)
		}
	}
	if args.Zone != "" && args.Zone != p.zone.name {
		return nil, gateway.ErrNotMine
	}
	if args.Key == nil {
		return nil, gateway.BadArgument("key is missing")
	}
	if action != "ban" && args.Duration != 0 {
		return nil, gateway.BadArgument("duration %s: only ban has one", time.Duration(args.Duration))
	}
	return act(ctx, args)
}

// found is what is known about a key.
type found struct {
	Policies []foundPolicy `json:"policies"`
	Banned   string        `json:"banned_for,omitempty"`
	InUse    uint32        `json:"under_way_here"`
	Shared   bool          `json:"shared"` // counts of the whole fleet
}

type foundPolicy struct {
	Tier      string `json:"tier"`
	Rate      string `json:"rate"`
	Count     uint32 `json:"count"`
	Remaining uint32 `json:"remaining"`
}

func (p *part) lookup(ctx context.Context, args keyArgs) (any, error) {
	l, k := p.zone.limiter, KeyOf(*args.Key)
	f := found{Shared: p.redis != nil, InUse: l.permits.inUse(k)}
	now := l.clock().mono
	banned := l.bans.left(k, now)
	for tier, set := range p.zone.tiers {
		sums, _ := l.memory.counted(k, set, now)
		if p.redis != nil {
			var err error
			if sums, banned, err = p.shared().counted(ctx, sharedName(*args.Key), set); err != nil {
				return nil, err
			}
		}
		for i := range set.policies {
			q := &set.policies[i]
			f.Policies = append(f.Policies, foundPolicy{tier, q.rate.String(), sums[i], q.limit - min(q.limit, sums[i])})
		}
	}
	if banned > 0 {
		f.Banned = (time.Duration(banned) * time.Microsecond).Round(time.Second).String()
	}
	return f, nil
}

func (p *part) shared() *redisBackend { return p.zone.limiter.backend.(*redisBackend) }

func (p *part) reset(ctx context.Context, args keyArgs) (any, error) {
	for _, set := range p.zone.tiers {
		if p.redis != nil {
			if err := p.shared().reset(ctx, sharedName(*args.Key), set); err != nil {
				return nil, err
			}
		}
		p.zone.limiter.memory.reset(KeyOf(*args.Key), set)
	}
	return p.changed(ctx, args)
}

func (p *part) ban(ctx context.Context, args keyArgs) (any, error) {
	length := time.Duration(args.Duration)
	if length < time.Second || length > maxWindow {
		return nil, gateway.BadArgument("duration must be 1s to %s, got %s", maxWindow, length)
	}
	if p.redis != nil {
		if err := p.shared().ban(ctx, sharedName(*args.Key), length); err != nil {
			return nil, err
		}
	}
	return p.changed(ctx, args)
}

func (p *part) unban(ctx context.Context, args keyArgs) (any, error) {
	if p.redis != nil {
		if err := p.shared().unban(ctx, sharedName(*args.Key)); err != nil {
			return nil, err
		}
	}
	return p.changed(ctx, args)
}

// changed makes all nodes ask anew about the key, and shows what is now known.
func (p *part) changed(ctx context.Context, args keyArgs) (any, error) {
	l, length := p.zone.limiter, time.Duration(args.Duration).Microseconds()
	l.state.changed(KeyOf(*args.Key), length, l.clock().mono)
	if p.redis != nil {
		if err := p.shared().announce(ctx, change{p.zone.name, *args.Key, length}); err != nil {
			return nil, err
		}
	}
	return p.lookup(ctx, args)
}

var _ gateway.Actor = (*part)(nil)
