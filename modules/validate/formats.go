package validate

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

var errFormat = errors.New("wrong format")

// registerFormats adds the formats that OpenAPI has beside those of JSON
// Schema. float, double, binary and password ask for nothing that can be
// checked: they are hints.
func registerFormats(c *jsonschema.Compiler) {
	c.RegisterFormat(&jsonschema.Format{Name: "int32", Validate: wholeNumberOf(32)})
	c.RegisterFormat(&jsonschema.Format{Name: "int64", Validate: wholeNumberOf(64)})
	c.RegisterFormat(&jsonschema.Format{Name: "byte", Validate: isBase64})
}

func wholeNumberOf(bits int) func(any) error {
	return func(v any) error {
		n, ok := v.(json.Number)
		if !ok {
			return nil
		}
		if _, err := strconv.ParseInt(n.String(), 10, bits); err == nil {
			return nil
		}
		// 1.0 and 1e3 are whole numbers too.
		f, err := n.Float64()
		if limit := float64(uint64(1) << (bits - 1)); err != nil || f != float64(int64(f)) || f >= limit || f < -limit {
			return errFormat
		}
		return nil
	}
}

func isBase64(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	if _, err := base64.StdEncoding.DecodeString(s); err != nil {
		return errFormat
	}
	return nil
}
