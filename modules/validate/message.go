package validate

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// message says what a value must be. It speaks of the schema only, never of
// the value: a body may hold passwords.
func message(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return mustBeTypes(k.Want)
	case *kind.Const:
		return "must be " + constant(k.Want)
	case *kind.Enum:
		return mustBeOneOf(k.Want)
	case *kind.Format:
		return mustBeFormat(k.Want)
	case *kind.MinLength, *kind.MaxLength, *kind.Pattern:
		return stringMessage(k)
	case *kind.Minimum, *kind.Maximum, *kind.ExclusiveMinimum, *kind.ExclusiveMaximum, *kind.MultipleOf:
		return numberMessage(k)
	case *kind.MinItems, *kind.MaxItems, *kind.UniqueItems, *kind.AdditionalItems,
		*kind.Contains, *kind.MinContains, *kind.MaxContains:
		return arrayMessage(k)
	case *kind.MinProperties:
		return "must have at least " + count(k.Want, "member")
	case *kind.MaxProperties:
		return "must have at most " + count(k.Want, "member")
	case *kind.PropertyNames: // of a schema: those of a body are told member by member
		return fmt.Sprintf("has a member of a name that is not allowed, %q", shorten(k.Property))
	case *kind.FalseSchema:
		return "is not allowed"
	}
	return "is not valid"
}

func stringMessage(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.MinLength:
		if k.Want == 1 {
			return "must not be empty"
		}
		return "must be at least " + count(k.Want, "character") + " long"
	case *kind.MaxLength:
		return "must be at most " + count(k.Want, "character") + " long"
	case *kind.Pattern:
		if k.Want == `\S` {
			return "must not be blank"
		}
		return "must match the pattern " + k.Want
	}
	return "is not valid"
}

func numberMessage(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be greater than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	}
	return "is not valid"
}

func arrayMessage(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.MinItems:
		return "must have at least " + count(k.Want, "item")
	case *kind.MaxItems:
		return "must have at most " + count(k.Want, "item")
	case *kind.UniqueItems:
		return fmt.Sprintf("must not repeat items: [%d] and [%d] are equal", k.Duplicates[0], k.Duplicates[1])
	case *kind.AdditionalItems:
		return "has more items than allowed"
	case *kind.Contains:
		return "lacks an item of the required kind"
	case *kind.MinContains:
		return "must have at least " + count(k.Want, "item") + " of the required kind"
	case *kind.MaxContains:
		return "must have at most " + count(k.Want, "item") + " of that kind"
	}
	return "is not valid"
}

var typeNames = map[string]string{
	"null": "null", "boolean": "true or false", "number": "a number", "integer": "a whole number",
	"string": "a string", "array": "an array", "object": "an object",
}

func mustBeTypes(want []string) string {
	names := make([]string, len(want))
	for i, w := range want {
		names[i] = typeNames[w]
	}
	return "must be " + orList(names)
}

var formatNames = map[string]string{
	"email": "an email address", "uuid": "a UUID", "uri": "a URI", "uri-reference": "a URI or a relative reference",
	"date-time": "a date and time such as 2006-01-02T15:04:05Z", "date": "a date such as 2006-01-02",
	"time": "a time such as 15:04:05Z", "duration": "a duration such as P3DT4H", "ipv4": "an IPv4 address",
	"ipv6": "an IPv6 address", "hostname": "a host name", "regex": "a regular expression",
	"json-pointer": "a JSON pointer", "int32": "a whole number of 32 bits", "int64": "a whole number of 64 bits",
	"byte": "base64", "idn-email": "an email address", "idn-hostname": "a host name", "uri-template": "a URI template",
}

func mustBeFormat(format string) string {
	if name, ok := formatNames[format]; ok {
		return "must be " + name
	}
	return "must have the format " + format
}

func mustBeOneOf(want []any) string {
	if len(want) == 1 {
		return "must be " + constant(want[0])
	}
	names := make([]string, 0, len(want))
	for _, v := range want[:min(len(want), 20)] {
		names = append(names, constant(v))
	}
	if len(want) > 20 {
		names = append(names, "…")
	}
	return "must be one of " + strings.Join(names, ", ")
}

// constant writes a value out of the schema.
func constant(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		if v == "" {
			return `""`
		}
		return v
	case []any, map[string]any:
		return "the constant of the schema"
	}
	return fmt.Sprint(v)
}

func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func orList(names []string) string {
	switch n := len(names); n {
	case 0:
		return "something else"
	case 1:
		return names[0]
	default:
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
}
