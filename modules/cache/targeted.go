package cache

import (
	"net/http"
	"strings"

	"github.com/dunglas/httpsfv"
)

// The targeted fields that are obeyed, in this order. RFC 9213, 2.2: the first
// that is valid and not empty replaces Cache-Control and Expires.
const (
	// ownField speaks to Fairway alone and is removed from the response.
	ownField = "Fairway-Cache-Control"

	// cdnField speaks to every CDN on the way and is forwarded.
	cdnField = "Cdn-Cache-Control"
)

// responseDirectives returns the directives that rule a response, and whether
// they come from a targeted field.
func responseDirectives(h http.Header) (d Directives, targeted bool) {
	for _, name := range [...]string{ownField, cdnField} {
		if lines := h[name]; len(lines) > 0 {
			if d, ok := parseTargeted(lines); ok {
				return d, true
			}
		}
	}
	return ParseDirectives(h["Cache-Control"]), false
}

// parseTargeted reads a targeted field, which is a Structured Dictionary. It
// reports false if the field is to be ignored: it is empty, it does not parse,
// or a directive has a value of the wrong type. RFC 9213, 2.1.
func parseTargeted(lines []string) (Directives, bool) {
	d := noDirectives
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(dict.Names()) == 0 {
		return d, false
	}
	for _, name := range dict.Names() {
		member, _ := dict.Get(name)
		item, ok := member.(httpsfv.Item)
		if !ok {
			continue // an inner list is no directive that we know
		}
		if !d.setTargeted(name, item.Value) {
			return d, false
		}
	}
	return d, true
}

func (d *Directives) setTargeted(name string, value any) bool {
	switch name {
	case "max-age", "s-maxage", "stale-while-revalidate", "stale-if-error":
		n, ok := value.(int64)
		if !ok || n < 0 {
			return false
		}
		d.setSeconds(name, min(n, maxDelta))
		return true
	case "no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate", "must-understand":
		switch v := value.(type) {
		case bool:
			if v {
				d.set(name, "", false, false)
			}
			return true
		case string: // no-cache="a, b"
			d.set(name, v, strings.IndexByte(v, '"') < 0, true)
			return true
		}
		return false
	}
	return true
}

func (d *Directives) setSeconds(name string, n int64) {
	switch name {
	case "max-age":
		d.MaxAge = n
	case "s-maxage":
		d.SMaxAge = n
	case "stale-while-revalidate":
		d.StaleWhileRevalidate = n
	case "stale-if-error":
		d.StaleIfError = n
	}
}
