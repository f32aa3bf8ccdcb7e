package resilience

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// partKind is where the admin API shows breakers: /fairway/breaker.
const partKind = "breaker"

// part shows the upstreams of one group to operators, and lets them force
// breakers. All transports (or routes) of that name in a config share it; it is
// made by the first.
type part struct {
	what     string // that has the group
	group    *Group
	settings *settings
	reports  *reporter
}

// showPart registers a group, or finds it registered by another of the same
// name, which must then agree on what they share.
func showPart(app *gateway.App, p *part) error {
	for _, q := range app.Parts() {
		other, ok := q.(*part)
		if !ok || other.group != p.group {
			continue
		}
		if *other.settings != *p.settings {
			return fmt.Errorf("%s: two of the name %q share breakers but differ in their settings; give one of them another name", p.what, p.Name())
		}
		return nil
	}
	return app.Register(p)
}

// Kind implements gateway.Part.
func (*part) Kind() string { return partKind }

// Name implements gateway.Part.
func (p *part) Name() string { return p.group.name }

// upstreamFacts are what an operator sees of an upstream.
type upstreamFacts struct {
	Upstream string `json:"upstream"`
	Breaker  Facts  `json:"breaker"`
	InFlight int64  `json:"in_flight"`
	Waiting  int    `json:"waiting,omitempty"`
	Limit    int    `json:"limit,omitempty"`
}

// groupFacts are what an operator sees of the transports of one name.
type groupFacts struct {
	Upstreams []upstreamFacts `json:"upstreams"`

	// Tries of the last ten seconds: first ones, and extra ones out of the
	// budget.
	FirstTries uint64 `json:"first_tries"`
	ExtraTries uint64 `json:"extra_tries"`
}

// Snapshot implements gateway.Part.
func (p *part) Snapshot() any {
	now := time.Now()
	facts := groupFacts{Upstreams: []upstreamFacts{}}
	facts.FirstTries, facts.ExtraTries = p.group.budget.Facts(now)
	for _, u := range p.group.list() {
		f := upstreamFacts{Upstream: u.dial, Breaker: u.breaker.Facts(now), InFlight: u.inFlight.Load()}
		if b := u.bulkhead.Load(); b != nil {
			_, f.Waiting, f.Limit = b.Depth()
		}
		facts.Upstreams = append(facts.Upstreams, f)
	}
	return facts
}

// Check implements gateway.Checker: some upstream must take requests, if there
// is any.
func (p *part) Check() error {
	now, all := time.Now(), p.group.list()
	for _, u := range all {
		if u.breaker.Ready(now) {
			return nil
		}
	}
	if len(all) == 0 {
		return nil
	}
	return fmt.Errorf("all breakers are open (%d)", len(all))
}

// Act implements gateway.Actor. The actions are open, close and reset; they
// concern the upstream that the arguments name, {"upstream":"127.0.0.1:8081"},
// or all of the group with {"all":true}, which reset also takes without. A
// breaker that is opened or closed by hand stays so until it is reset. The
// answer lists the upstreams concerned.
func (p *part) Act(_ context.Context, action string, args json.RawMessage) (any, error) {
	act, ok := map[string]func(*Breaker, time.Time) Transition{
		"open":  func(b *Breaker, now time.Time) Transition { return b.Force(Open, now) },
		"close": func(b *Breaker, now time.Time) Transition { return b.Force(Closed, now) },
		"reset": (*Breaker).Reset,
	}[action]
	if !ok {
		return nil, gateway.ErrUnknownAction
	}
	target, err := parseTarget(args)
	if err != nil {
		return nil, err
	}
	which := target.Upstream
	if which == "" && !target.All && action != "reset" {
		return nil, gateway.BadArgument("%s: name the upstream (upstream=127.0.0.1:8081) or say all", action)
	}
	concerned := []string{}
	for _, u := range p.group.list() {
		if which == "" || which == u.dial {
			p.reports.tell(u, act(u.breaker, time.Now()))
			concerned = append(concerned, u.dial)
		}
	}
	if which != "" && len(concerned) == 0 {
		return nil, gateway.ErrNotMine
	}
	return map[string]any{"upstreams": concerned}, nil
}

// actionTarget is what an action concerns.
type actionTarget struct {
	Upstream string `json:"upstream"`
	All      bool   `json:"all"`
}

func parseTarget(args json.RawMessage) (actionTarget, error) {
	var target actionTarget
	if len(args) == 0 {
		return target, nil
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.DisallowUnknownFields()
	if err := d.Decode(&target); err != nil {
		return target, gateway.BadArgument("the arguments must be like {\"upstream\":\"127.0.0.1:8081\"} or {\"all\":true}: %v", err)
	}
	if target.All && target.Upstream != "" {
		return target, gateway.BadArgument("name an upstream or say all, not both")
	}
	return target, nil
}

var (
	_ gateway.Actor   = (*part)(nil)
	_ gateway.Checker = (*part)(nil)
)
