package cache

import "slices"

// index lists what else is kept for one URL: under its primary key, the variants
// of responses that vary (RFC 9111, 4.1); under the key of its path, the ways in
// which responses ignore the query (No-Vary-Search).
type index struct {
	// specs are the Vary lists seen, the most recent first.
	specs [][]string

	// variants are where the responses are kept, the oldest first.
	variants []hash

	// searches are the values of No-Vary-Search seen, the most recent first.
	searches []*variance
}

// maxSpecs bounds how many different Vary lists of one URL are tried, and how
// many values of No-Vary-Search of one path.
const maxSpecs = 4

func (x *index) weight() int {
	n := 72 + 16*len(x.variants)
	for _, s := range x.specs {
		n += 24 + 32*len(s)
	}
	for _, v := range x.searches {
		n += 64 + 2*len(v.id)
	}
	return n
}

// withVariant returns an index that knows one more variant, and the variants
// that had to go to keep to the limit.
func (x *index) withVariant(spec []string, variant hash, limit int) (next *index, gone []hash) {
	next = &index{specs: [][]string{spec}}
	for _, s := range x.specs {
		if !slices.Equal(s, spec) && len(next.specs) < maxSpecs {
			next.specs = append(next.specs, s)
		}
	}
	for _, v := range x.variants {
		if v != variant {
			next.variants = append(next.variants, v)
		}
	}
	next.variants = append(next.variants, variant)
	if over := len(next.variants) - limit; over > 0 {
		gone = slices.Clone(next.variants[:over])
		next.variants = slices.Delete(next.variants, 0, over)
	}
	return next, gone
}

// withSearch returns an index that knows one more value of No-Vary-Search.
func (x *index) withSearch(search *variance) *index {
	next := &index{searches: []*variance{search}}
	for _, s := range x.searches {
		if s.id != search.id && len(next.searches) < maxSpecs {
			next.searches = append(next.searches, s)
		}
	}
	return next
}
