package cache

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// part is a cache as the admin API shows it.
type part struct {
	h    *Handler
	app  *gateway.App
	name string
}

// newPart names the part after the cache; a second handler of the same name gets
// a number.
func newPart(h *Handler, app *gateway.App) *part {
	p := &part{h: h, app: app, name: h.Name}
	taken := make(map[string]bool)
	for _, other := range app.Parts() {
		if other.Kind() == p.Kind() {
			taken[other.Name()] = true
		}
	}
	for n := 2; taken[p.name]; n++ {
		p.name = h.Name + "-" + strconv.Itoa(n)
	}
	return p
}

// Kind is "cache".
func (*part) Kind() string { return "cache" }

// Name is the cache's name.
func (p *part) Name() string { return p.name }

// Snapshot says what is stored.
func (p *part) Snapshot() any {
	m := p.h.store.memory.otter
	s := map[string]any{
		"cache":   p.h.Name,
		"entries": m.EstimatedSize(),
		"bytes":   m.WeightedSize(),
		"limit":   m.GetMaximum(),
		"purges":  p.h.store.purges.Seq(),
		"redis":   p.h.remote != nil,
	}
	if p.h.remote != nil {
		s["redis_up"] = p.h.remote.redis.Up()
		s["undelivered_purges"] = p.h.remote.outbox.size()
	}
	return s
}

// purgeArguments are those of the action "purge": exactly one of url, tag,
// prefix and all.
type purgeArguments struct {
	// URL is one absolute URL, with the host as clients send it.
	URL *string `json:"url"`

	// Prefix is the beginning of URLs, with scheme and host.
	Prefix *string `json:"prefix"`

	// Tag is a tag or cache group; Host restricts it to one host.
	Tag  *string `json:"tag"`
	Host string  `json:"host"`

	// All is everything.
	All bool `json:"all"`

	// Soft makes entries stale instead of forgetting them.
	Soft bool `json:"soft"`
}

func (a *purgeArguments) check() error {
	n := 0
	for name, value := range map[string]*string{"url": a.URL, "prefix": a.Prefix, "tag": a.Tag} {
		if value == nil {
			continue
		}
		if n++; *value == "" {
			return gateway.BadArgument("purge: %s is empty", name)
		}
	}
	if a.All {
		n++
	}
	if n != 1 {
		return gateway.BadArgument("purge: want exactly one of url, prefix, tag and all, got %d", n)
	}
	if a.Host != "" && a.Tag == nil {
		return gateway.BadArgument("purge: host %q goes with a tag only", a.Host)
	}
	return nil
}

// Act carries out "purge" and "warm".
func (p *part) Act(ctx context.Context, action string, args json.RawMessage) (any, error) {
	switch action {
	case "purge":
		var a purgeArguments
		if err := readArguments(action, args, &a); err != nil {
			return nil, err
		}
		return p.purge(&a)
	case "warm":
		var a warmArguments
		if err := readArguments(action, args, &a); err != nil {
			return nil, err
		}
		return p.warm(ctx, &a)
	}
	return nil, gateway.ErrUnknownAction
}

func readArguments(action string, args json.RawMessage, to any) error {
	decoder := json.NewDecoder(bytes.NewReader(args))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(to); err != nil {
		return gateway.BadArgument("%s: %v", action, err)
	}
	return nil
}

func (p *part) purge(a *purgeArguments) (any, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	what, err := p.purgeOf(a)
	if err != nil {
		return nil, err
	}
	p.h.purge(what)
	return map[string]any{"cache": p.h.Name, "purged": true, "soft": a.Soft}, nil
}

func (p *part) purgeOf(a *purgeArguments) (Purge, error) {
	switch {
	case a.All:
		return Purge{Kind: kindAll, Soft: a.Soft}, nil
	case a.Tag != nil:
		return Purge{Kind: kindTag, Target: tagTarget(a.Host, *a.Tag), Soft: a.Soft}, nil
	case a.Prefix != nil:
		return p.purgeRef(kindPrefix, "prefix", *a.Prefix, a.Soft)
	}
	return p.purgeRef(kindURL, "url", *a.URL, a.Soft)
}

func (p *part) purgeRef(kind byte, name, ref string, soft bool) (Purge, error) {
	target, err := p.h.purgeURI(ref)
	if err != nil {
		return Purge{}, gateway.BadArgument("purge: %s %q: it must be an absolute URL", name, ref)
	}
	return Purge{Kind: kind, Target: target, Soft: soft}, nil
}

// purgeURI brings a URL into the form that it has in keys.
func (h *Handler) purgeURI(ref string) (string, error) {
	u, err := url.Parse(ref)
	if err != nil || u.Host == "" {
		return "", errNotAbsolute
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return string(h.keys.appendURI(nil, &Target{Host: u.Host, Path: path, RawQuery: u.RawQuery})), nil
}

var kindNames = map[byte]string{kindURL: "url", kindTag: "tag", kindPrefix: "prefix", kindAll: "all"}

// purge forgets here and now, and has Redis and the other nodes told.
func (h *Handler) purge(list ...Purge) {
	for _, p := range list {
		h.store.purges.Apply(p)
	}
	h.tell(list...)
}

// tell counts purges that were carried out here, and has Redis and the other
// nodes told.
func (h *Handler) tell(list ...Purge) {
	for _, p := range list {
		purges.WithLabelValues(kindNames[p.Kind]).Inc()
		if h.remote != nil {
			h.remote.outbox.add(p)
		}
	}
}

var _ gateway.Actor = (*part)(nil)
