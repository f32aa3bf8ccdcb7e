package ratelimit

import (
	"math"
	"net/http"
	"strconv"
)

// headerStyle says which header fields tell the client about its limit.
type headerStyle uint8

const (
	// draft-ietf-httpapi-ratelimit-headers-11: RateLimit-Policy and RateLimit.
	headersDraft headerStyle = iota
	// RateLimit-Limit, -Remaining and -Reset, of the same draft up to -06.
	headersLegacy
	headersOff
)

// policyHeader writes a zone's items of RateLimit-Policy, such as
// "users";q=100;w=900.
func policyHeader(s *policySet) string {
	var b []byte
	for i := range s.policies {
		p := &s.policies[i]
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, '"')
		b = append(b, p.name...)
		b = append(b, `";q=`...)
		b = strconv.AppendUint(b, uint64(p.limit), 10)
		b = append(b, ";w="...)
		b = strconv.AppendInt(b, seconds(p.window), 10)
	}
	return string(b)
}

// limitHeader writes an item of RateLimit, such as "users";r=42;t=310: the
// policy with the least left, and when that next changes for the better.
func limitHeader(s *policySet, d *decision) string {
	p := &s.policies[d.policy]
	var room [128]byte
	b := append(room[:0], '"')
	b = append(b, p.name...)
	b = append(b, `";r=`...)
	b = strconv.AppendUint(b, uint64(d.remaining), 10)
	b = append(b, ";t="...)
	t := seconds(d.reset)
	if d.ok && d.remaining > 0 {
		t = min(t, seconds(p.window)) // counts may stay one slot longer, which need not trouble anyone yet
	}
	b = strconv.AppendInt(b, t, 10)
	return string(b)
}

// seconds rounds µs up.
func seconds(us int64) int64 { return (us + 999_999) / 1_000_000 }

// write adds what a zone decided. Several zones, of one handler or of several,
// stand in lines of their own, as List fields may; the legacy trio tells of the
// one with the least left.
func (h headerStyle) write(header http.Header, z *Zone, s *policySet, d *decision) {
	if d.source == fromConfig || d.crowded || d.fallback && d.ok && d.remaining == 0 && d.reset == 0 {
		return // nothing is known about what remains
	}
	switch h {
	case headersDraft:
		add(header, "Ratelimit-Policy", "Ratelimit", s.header, limitHeader(s, d))
	case headersLegacy:
		writeLegacy(header, s, d)
	}
}

// add adds a line to two fields, which are usually not there yet.
func add(header http.Header, name1, name2, value1, value2 string) {
	if header[name1] != nil || header[name2] != nil {
		header[name1] = append(header[name1], value1)
		header[name2] = append(header[name2], value2)
		return
	}
	lines := [...]string{value1, value2}
	header[name1], header[name2] = lines[:1:1], lines[1:]
}

func writeLegacy(header http.Header, s *policySet, d *decision) {
	if before := header.Get("Ratelimit-Remaining"); before != "" {
		if n, err := strconv.ParseUint(before, 10, 32); err == nil && n <= uint64(d.remaining) && d.ok {
			return
		}
	}
	header.Set("Ratelimit-Limit", strconv.FormatUint(uint64(s.policies[d.policy].limit), 10))
	header.Set("Ratelimit-Remaining", strconv.FormatUint(uint64(d.remaining), 10))
	header.Set("Ratelimit-Reset", strconv.FormatInt(seconds(d.reset), 10))
}

// retryAfter is the wait in whole seconds, at least one, with up to jitter times
// as much on top, so that refused clients do not all return at once.
func retryAfter(wait int64, jitter, random float64) string {
	s := max(seconds(wait), 1)
	if jitter > 0 {
		s += int64(math.Ceil(float64(s) * jitter * random))
	}
	return strconv.FormatInt(s, 10)
}
