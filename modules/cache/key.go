package cache

import (
	"hash/maphash"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// hash is where an entry is kept in memory. It is seeded per process, so that
// nobody outside can make two keys collide; the full key is compared all the
// same.
type hash [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hashOf(key []byte) hash {
	return hash{maphash.Bytes(seeds[0], key), maphash.Bytes(seeds[1], key)}
}

func hashTarget(kind byte, target string) uint64 {
	var h maphash.Hash
	h.SetSeed(seeds[0])
	h.WriteByte(kind)
	h.WriteString(target)
	return h.Sum64()
}

// Target is what a request is for, as the client asked for it. It consists of
// plain values, so that a caller without net/http can fill it.
type Target struct {
	// Scope names the listeners of the site: the Host that a client sends to
	// one port must not reach what belongs to another.
	Scope string

	// Scheme is "http" or "https".
	Scheme string

	// Host as sent.
	Host string

	// Path and RawQuery as sent, still encoded.
	Path, RawQuery string

	// Rewritten is the path and query that the next handler sees, if earlier
	// handlers changed them.
	Rewritten string

	// Issuer and Subject of the authenticated user; Identified if there is one.
	Issuer, Subject string
	Identified      bool

	// TokenParam is the query parameter that held credentials.
	TokenParam string

	// Body of a QUERY request, digested, and its media type.
	Body string

	// Extra values that the options add to the key.
	Extra []string
}

// KeyRules say which parts of a request make up its key.
type KeyRules struct {
	// Headers and Cookies whose values are part of the key, canonical.
	Headers, Cookies []string

	// Params, if not nil, are the only query parameters in the key; Without
	// are those that are not.
	Params, Without map[string]bool

	// SortQuery orders parameters by name.
	SortQuery bool

	// IgnoreHost and IgnoreQuery leave them out.
	IgnoreHost, IgnoreQuery bool

	// Shared leaves the user out.
	Shared bool

	// Name of the cache, which is part of every key.
	Name string
}

// appendURI appends host, path and query in the form in which a purge names
// them.
func (k *KeyRules) appendURI(dst []byte, t *Target) []byte {
	if !k.IgnoreHost {
		dst = appendLower(dst, t.Host)
	}
	dst = append(dst, t.Path...)
	if t.RawQuery != "" && !k.IgnoreQuery {
		dst = k.appendQuery(dst, t.RawQuery, t.TokenParam)
	}
	return dst
}

// Append appends the key of a request to dst and returns where in it the URI
// lies. No part of a request can stand for another: fields that a client
// chooses freely are preceded by their length.
func (k *KeyRules) Append(dst []byte, t *Target, h http.Header) (key []byte, from, to int) {
	dst = append(dst, k.Name...)
	dst = append(dst, '\n')
	dst = append(dst, t.Scope...)
	dst = append(dst, '\n')
	dst = append(dst, t.Scheme...)
	dst = append(dst, ':')
	from = len(dst)
	dst = k.appendURI(dst, t)
	to = len(dst)
	if t.Rewritten != "" {
		dst = appendPart(dst, 'r', t.Rewritten)
	}
	if t.Identified && !k.Shared {
		dst = appendPart(dst, 'i', t.Issuer)
		dst = appendPart(dst, 'u', t.Subject)
	}
	if t.Body != "" {
		dst = appendPart(dst, 'b', t.Body)
	}
	for _, x := range t.Extra {
		dst = appendPart(dst, 'x', x)
	}
	dst = k.appendFields(dst, h)
	return appendUnkeyed(dst, h), from, to
}

func appendPart(dst []byte, kind byte, s string) []byte {
	dst = append(dst, '\n', kind)
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, ':')
	return append(dst, s...)
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func (k *KeyRules) appendFields(dst []byte, h http.Header) []byte {
	for _, name := range k.Headers {
		dst = append(appendPart(dst, 'h', name), ' ')
		dst = appendNormalised(dst, name, h[name])
	}
	if len(k.Cookies) == 0 {
		return dst
	}
	for _, name := range k.Cookies {
		dst = appendPart(dst, 'c', name)
		for _, line := range h["Cookie"] {
			for pair := range strings.SplitSeq(line, ";") {
				if n, v, _ := strings.Cut(trimOWS(pair), "="); n == name {
					dst = appendPart(dst, 'v', v)
				}
			}
		}
	}
	return dst
}

// unkeyed are request fields through which common frameworks let a client
// change what it is sent. A response to such a request must not answer others,
// so they become part of the key. Of those that reverse_proxy overwrites for
// clients that are not trusted, X-Forwarded-For is left out: it differs for
// each client and says nothing about the resource.
var unkeyed = []string{
	"Forwarded", "X-Forwarded-Host", "X-Forwarded-Method", "X-Forwarded-Path", "X-Forwarded-Port",
	"X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Server", "X-Forwarded-Ssl",
	"X-Forwarded-Uri", "X-Host", "X-Http-Host-Override", "X-Http-Method", "X-Http-Method-Override",
	"X-Method-Override", "X-Original-Host", "X-Original-Uri", "X-Original-Url", "X-Rewrite-Url",
}

// appendUnkeyed walks the header once instead of looking up each name: most
// requests have fewer fields than there are names.
func appendUnkeyed(dst []byte, h http.Header) []byte {
	found := 0
	for name := range h {
		if (name[0] == 'X' || name == "Forwarded") && slices.Contains(unkeyed, name) {
			found++
		}
	}
	for i := 0; found > 0 && i < len(unkeyed); i++ {
		for _, v := range h[unkeyed[i]] {
			dst = appendPart(dst, 'f', unkeyed[i])
			dst = appendPart(dst, 'v', v)
		}
	}
	return dst
}

// appendQuery appends "?" and the parameters that count.
func (k *KeyRules) appendQuery(dst []byte, raw, token string) []byte {
	if token == "" && k.Params == nil && k.Without == nil && !k.SortQuery {
		dst = append(dst, '?')
		return append(dst, raw...)
	}
	var kept []string
	for param := range strings.SplitSeq(raw, "&") {
		name, _, _ := strings.Cut(param, "=")
		name = unescapeQuery(name)
		if name == token && token != "" || k.Without[name] || k.Params != nil && !k.Params[name] {
			continue
		}
		kept = append(kept, param)
	}
	if k.SortQuery {
		slices.SortStableFunc(kept, func(a, b string) int {
			a, _, _ = strings.Cut(a, "=")
			b, _, _ = strings.Cut(b, "=")
			return strings.Compare(a, b)
		})
	}
	for i, param := range kept {
		if i == 0 {
			dst = append(dst, '?')
		} else {
			dst = append(dst, '&')
		}
		dst = append(dst, param...)
	}
	return dst
}
