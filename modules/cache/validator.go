package cache

import (
	"net/http"
	"strings"
)

// notModified tells whether a conditional GET or HEAD is answered by 304 with
// this entry. RFC 9111, 4.3.2; RFC 9110, 13.1.2 and 13.1.3: If-None-Match wins,
// and its comparison is weak.
func notModified(h http.Header, e *Entry, now int64) bool {
	if e.status != http.StatusOK {
		return false
	}
	if lines := h["If-None-Match"]; len(lines) > 0 {
		return e.etag() != "" && matchesAny(lines, e.etag())
	}
	lines := h["If-Modified-Since"]
	if len(lines) != 1 {
		return false
	}
	since, ok := ParseDate(lines[0], now/1000)
	if !ok {
		return false
	}
	modified, ok := e.modified()
	return ok && modified <= since
}

// matchesAny tells whether a list of entity tags, or "*", contains etag by weak
// comparison. RFC 9110, 8.8.3.2.
func matchesAny(lines []string, etag string) bool {
	etag = opaque(etag)
	for _, line := range lines {
		for line != "" {
			var tag string
			tag, line = cutComma(line)
			if tag = trimOWS(tag); tag == "*" || opaque(tag) == etag && tag != "" {
				return true
			}
		}
	}
	return false
}

func opaque(etag string) string { return strings.TrimPrefix(etag, "W/") }

// strong tells whether etag is a strong entity tag.
func strong(etag string) bool {
	return len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"'
}

// conditional tells whether a request asks for something that only the origin
// can judge, or that makes its answer useless for others.
func conditional(h http.Header) bool {
	return len(h["If-None-Match"]) > 0 || len(h["If-Modified-Since"]) > 0
}

// preconditioned tells whether a request carries a condition that a cache
// leaves to the origin. RFC 9111, 4.3.2.
func preconditioned(h http.Header) bool {
	return len(h["If-Match"]) > 0 || len(h["If-Unmodified-Since"]) > 0
}
