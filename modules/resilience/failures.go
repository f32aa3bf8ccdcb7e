package resilience

import (
	"fmt"
	"strconv"
)

// failures is what counts as a failure of an upstream.
type failures struct {
	statuses [600]bool
	timeouts bool
	errors   bool
}

// defaultFailures holds for an empty fail_on. A 501 or 505 says what a server
// does not do, not that it is unwell.
var defaultFailures = []string{"500", "502", "503", "504", "timeout", "error"}

func parseFailures(words []string) (failures, error) {
	if len(words) == 0 {
		words = defaultFailures
	}
	var f failures
	for _, w := range words {
		switch w {
		case "timeout":
			f.timeouts = true
		case "error":
			f.errors = true
		default:
			if err := addStatus(&f.statuses, w); err != nil {
				return f, fmt.Errorf("fail_on: %w, %q or %q", err, "timeout", "error")
			}
		}
	}
	return f, nil
}

// addStatus adds a status such as 503 or a class such as 5xx to a set.
func addStatus(set *[600]bool, word string) error {
	if len(word) == 3 && word[1:] == "xx" && word[0] >= '1' && word[0] <= '5' {
		for i := range 100 {
			set[int(word[0]-'0')*100+i] = true
		}
		return nil
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 100 || n > 599 {
		return fmt.Errorf("%q is neither a status such as 503, a class such as 5xx", word)
	}
	set[n] = true
	return nil
}

func (f *failures) status(code int) bool {
	return code >= 0 && code < len(f.statuses) && f.statuses[code]
}
