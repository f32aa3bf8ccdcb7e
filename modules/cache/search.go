package cache

import (
	"bytes"
	"net/url"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"
)

// variance is what a No-Vary-Search field says of the query: which parameters
// change the response. nil is the default, by which each query is another
// response. draft-ietf-httpbis-no-vary-search, 4.
type variance struct {
	// all: no parameter counts but those in names. Otherwise all count but
	// those.
	all   bool
	names []string // decoded, sorted

	// anyOrder: the order of parameters of different names does not count.
	anyOrder bool

	// id is the same for variances that are alike. parseVarianceID reads it.
	id string
}

// maxVariance bounds the size of a No-Vary-Search that is obeyed, in bytes: a
// longer one counts as none, which costs hits only.
const maxVariance = 2048

// parseVariance reads No-Vary-Search. What is not understood to its end counts
// as the default. draft-ietf-httpbis-no-vary-search, 5.1.
func parseVariance(lines []string) *variance {
	if len(lines) == 0 {
		return nil
	}
	dict, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil {
		return nil
	}
	v := new(variance)
	for _, name := range [...]string{"key-order", "params", "except"} {
		if member, ok := dict.Get(name); ok && !v.set(name, member) {
			return nil
		}
	}
	return v.settled()
}

// set takes one member of the field. "params" must come before "except".
func (v *variance) set(name string, member httpsfv.Member) bool {
	item, _ := member.(httpsfv.Item)
	flag, boolean := item.Value.(bool)
	list, inner := member.(httpsfv.InnerList)
	switch {
	case name == "key-order":
		v.anyOrder = flag
		return boolean
	case name == "params" && boolean:
		v.all = flag
		return true
	case !inner, name == "except" && !v.all:
		return false
	}
	for _, item := range list.Items {
		key, ok := item.Value.(string)
		if !ok {
			return false
		}
		v.names = append(v.names, decodeParam(key))
	}
	return true
}

// settled fixes the order of the names and gives the variance its id. It returns
// nil for the default.
func (v *variance) settled() *variance {
	slices.Sort(v.names)
	v.names = slices.Compact(v.names)
	if !v.all && !v.anyOrder && len(v.names) == 0 {
		return nil
	}
	id := []byte{'-', '-'}
	if v.all {
		id[0] = '*'
	}
	if v.anyOrder {
		id[1] = 'o'
	}
	for _, name := range v.names {
		id = append(append(id, '&'), url.QueryEscape(name)...)
	}
	if len(id) > maxVariance {
		return nil
	}
	v.id = string(id)
	return v
}

// parseVarianceID is the inverse of settled, for ids that come from Redis.
func parseVarianceID(id string) *variance {
	head, rest, some := strings.Cut(id, "&")
	if len(head) != 2 || len(id) > maxVariance {
		return nil
	}
	v := &variance{all: head[0] == '*', anyOrder: head[1] == 'o'}
	if some {
		for name := range strings.SplitSeq(rest, "&") {
			v.names = append(v.names, decodeParam(name))
		}
	}
	if v = v.settled(); v == nil || v.id != id {
		return nil
	}
	return v
}

// param is a decoded parameter of a query.
type param struct{ name, value string }

// appendQuery appends the parameters that count, in a form that is the same for
// queries that are equivalent. draft-ietf-httpbis-no-vary-search, 6.
func (v *variance) appendQuery(dst []byte, raw string) []byte {
	var kept []param
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		p := param{decodeParam(name), decodeParam(value)}
		if _, listed := slices.BinarySearch(v.names, p.name); listed == v.all {
			kept = append(kept, p)
		}
	}
	if v.anyOrder {
		slices.SortStableFunc(kept, func(a, b param) int { return strings.Compare(a.name, b.name) })
	}
	for _, p := range kept {
		dst = appendPart(dst, 'q', p.name)
		dst = appendPart(dst, '=', p.value)
	}
	return dst
}

// decodeParam decodes a name or value of application/x-www-form-urlencoded. What
// is no escape stands for itself, and what is not UTF-8 becomes U+FFFD.
func decodeParam(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}
