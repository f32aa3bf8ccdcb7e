package edge

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// origins decides which web origins (RFC 6454) may read responses. It knows
// neither HTTP nor Caddy.
type origins struct {
	any      bool
	exact    []string
	wildcard []wildcardOrigin
}

// wildcardOrigin is https://*.example.com: every host below, not the host
// itself.
type wildcardOrigin struct{ scheme, suffix string }

func parseOrigins(list []string, credentials bool) (origins, error) {
	var o origins
	for _, text := range list {
		if err := o.add(strings.ToLower(text), credentials); err != nil {
			return o, err
		}
	}
	if !o.any && len(o.exact) == 0 && len(o.wildcard) == 0 {
		return o, errors.New("origins is missing: want at least one, or *")
	}
	return o, nil
}

func (o *origins) add(text string, credentials bool) error {
	switch {
	case text == "*" && credentials:
		return errors.New(`origin "*" with credentials would let every page act as the user: name the origins`)
	case text == "*":
		o.any = true
		return nil
	case text == "null" && credentials:
		return errors.New(`origin "null" with credentials would let every sandboxed page act as the user`)
	case text == "null":
		o.exact = append(o.exact, text)
		return nil
	}
	scheme, host, ok := strings.Cut(text, "://")
	rest, isWildcard := strings.CutPrefix(host, "*.")
	u, err := url.Parse(scheme + "://" + rest)
	if !ok || err != nil || u.Host != rest || rest == "" || strings.ContainsAny(rest, "*/?#@") {
		return errors.New("origin \"" + text + "\": want scheme://host, scheme://host:port or scheme://*.host")
	}
	if !isWildcard {
		o.exact = append(o.exact, text)
		return nil
	}
	if !strings.Contains(u.Hostname(), ".") {
		return errors.New("origin \"" + text + "\": a wildcard for all of a top-level domain")
	}
	o.wildcard = append(o.wildcard, wildcardOrigin{scheme + "://", "." + rest})
	return nil
}

// allow tells whether pages of this origin may read responses.
func (o *origins) allow(origin string) bool {
	if o.any {
		return true
	}
	origin = strings.ToLower(origin)
	if slices.Contains(o.exact, origin) {
		return true
	}
	return slices.ContainsFunc(o.wildcard, func(w wildcardOrigin) bool {
		rest, ok := strings.CutPrefix(origin, w.scheme)
		label, below := strings.CutSuffix(rest, w.suffix)
		return ok && below && label != "" && !strings.ContainsAny(label, "/@:?#")
	})
}
