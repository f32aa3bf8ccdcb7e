package validate

import (
	"strconv"
	"strings"
)

// maxNameLength bounds how much of a name the client chose comes back to it.
const maxNameLength = 64

// step is one move from a value to a value inside it: a member or an item.
type step struct {
	name    string
	index   int
	isIndex bool
}

// fieldPath writes steps as people do: address.zip, items[2].price. A name
// that would be ambiguous is quoted: limits["a.b"].
func fieldPath(steps []step) string {
	var b strings.Builder
	for _, s := range steps {
		switch {
		case s.isIndex:
			b.WriteByte('[')
			b.WriteString(strconv.Itoa(s.index))
			b.WriteByte(']')
		case plainName(s.name):
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.name)
		default:
			b.WriteByte('[')
			b.WriteString(strconv.Quote(shorten(s.name)))
			b.WriteByte(']')
		}
	}
	return b.String()
}

// plainName tells whether a name can stand in a path without quotes.
func plainName(s string) bool {
	if s == "" || len(s) > maxNameLength {
		return false
	}
	for _, r := range s {
		switch {
		case r == '_' || r == '-' || r == '$' || r == '@':
		case r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		default:
			return false
		}
	}
	return true
}

func shorten(s string) string {
	if len(s) <= maxNameLength {
		return s
	}
	return strings.ToValidUTF8(s[:maxNameLength], "") + "…"
}

// stepsIn turns the tokens of a JSON pointer into steps. The value tells what
// a token alone cannot: whether "2" is an item or a member of that name.
func stepsIn(v any, tokens []string) []step {
	steps := make([]step, 0, len(tokens)+1)
	for _, tok := range tokens {
		switch val := v.(type) {
		case []any:
			i, err := strconv.Atoi(tok)
			if err != nil || i < 0 || i >= len(val) {
				return steps
			}
			steps = append(steps, step{index: i, isIndex: true})
			v = val[i]
		case map[string]any:
			steps = append(steps, step{name: tok})
			v = val[tok]
		default:
			return steps
		}
	}
	return steps
}
