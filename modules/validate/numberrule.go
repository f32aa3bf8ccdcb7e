package validate

import (
	"cmp"
	"encoding/json"
	"math/big"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// numberRule bounds numbers.
type numberRule struct{ limits []numberLimit }

// numberLimit is one of minimum, maximum, exclusiveMinimum, exclusiveMaximum.
type numberLimit struct {
	limit   *big.Rat
	whole   int64 // limit, if isWhole
	isWhole bool
	// ok tells by the comparison with the limit (-1, 0, 1) whether a number is
	// within.
	ok      func(compared int) bool
	message string
}

func newNumberRule(s *jsonschema.Schema) *numberRule {
	r := new(numberRule)
	add := func(limit *big.Rat, k jsonschema.ErrorKind, ok func(int) bool) {
		if limit == nil {
			return
		}
		l := numberLimit{limit: limit, ok: ok, message: message(k)}
		if limit.IsInt() && limit.Num().IsInt64() {
			l.whole, l.isWhole = limit.Num().Int64(), true
		}
		r.limits = append(r.limits, l)
	}
	add(s.Minimum, &kind.Minimum{Want: s.Minimum}, func(c int) bool { return c >= 0 })
	add(s.Maximum, &kind.Maximum{Want: s.Maximum}, func(c int) bool { return c <= 0 })
	add(s.ExclusiveMinimum, &kind.ExclusiveMinimum{Want: s.ExclusiveMinimum}, func(c int) bool { return c > 0 })
	add(s.ExclusiveMaximum, &kind.ExclusiveMaximum{Want: s.ExclusiveMaximum}, func(c int) bool { return c < 0 })
	if r.limits == nil {
		return nil
	}
	return r
}

// broken calls report with the message of each limit that a number breaks.
func (r *numberRule) broken(n json.Number, report func(message string)) {
	whole, err := strconv.ParseInt(string(n), 10, 64)
	var exact *big.Rat
	for i := range r.limits {
		l := &r.limits[i]
		var c int
		if err == nil && l.isWhole {
			c = cmp.Compare(whole, l.whole)
		} else {
			if exact == nil {
				exact, _ = new(big.Rat).SetString(string(n))
			}
			c = exact.Cmp(l.limit)
		}
		if !l.ok(c) {
			report(l.message)
		}
	}
}

// isWhole tells whether a number is an integer, as 20, 20.0 and 2e1 are.
func isWhole(n json.Number) bool {
	if !strings.ContainsAny(string(n), ".eE") {
		return true
	}
	exact, ok := new(big.Rat).SetString(string(n))
	return ok && exact.IsInt()
}
