package problem

import (
	"strconv"
	"strings"
)

// mediaType is a form in which a problem can be written.
type mediaType struct {
	kind, subtype string
	contentType   string
}

// The forms on offer, the one preferred at equal weight first.
var (
	problemJSON = &mediaType{"application", "problem+json", "application/problem+json"}
	plainJSON   = &mediaType{"application", "json", "application/json"}
	plainText   = &mediaType{"text", "plain", "text/plain; charset=utf-8"}
	htmlPage    = &mediaType{"text", "html", "text/html; charset=utf-8"}

	offers = []*mediaType{problemJSON, plainJSON, plainText, htmlPage}
)

// maxAccept bounds how much of an Accept header is looked at.
const maxAccept = 1024

// negotiate picks a form by the request's Accept header (RFC 9110, 12.5.1). If
// the client accepts none of them it gets problem details: an error in the
// wrong form says more than no error.
func negotiate(accept string) *mediaType {
	if accept == "" || accept == "*/*" {
		return problemJSON
	}
	best, bestWeight := problemJSON, 0.0
	for _, offer := range offers {
		if w := offer.weight(accept[:min(len(accept), maxAccept)]); w > bestWeight {
			best, bestWeight = offer, w
		}
	}
	return best
}

// weight is the weight that the most specific range matching m gives it.
func (m *mediaType) weight(accept string) float64 {
	weight, precision := 0.0, 0
	for part := range strings.SplitSeq(accept, ",") {
		media, params, _ := strings.Cut(part, ";")
		if p := m.precision(strings.TrimSpace(media)); p > precision {
			weight, precision = qualityOf(params), p
		}
	}
	return weight
}

// precision says how exactly a media range names m: 0 if it does not.
func (m *mediaType) precision(media string) int {
	kind, subtype, ok := strings.Cut(media, "/")
	switch {
	case !ok:
		return 0
	case strings.EqualFold(kind, m.kind) && strings.EqualFold(subtype, m.subtype):
		return 3
	case strings.EqualFold(kind, m.kind) && subtype == "*":
		return 2
	case kind == "*" && subtype == "*":
		return 1
	}
	return 0
}

// qualityOf reads the weight of a range (RFC 9110, 12.4.2). One that cannot be
// read counts as none.
func qualityOf(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(name, "q") {
			continue
		}
		q, err := strconv.ParseFloat(value, 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
