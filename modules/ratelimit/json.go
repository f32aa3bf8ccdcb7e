package ratelimit

import (
	"bytes"
	"encoding/json"
)

// strictUnmarshal decodes JSON and refuses members it does not know, as
// Caddy does for module configs: a custom UnmarshalJSON would lose that.
func strictUnmarshal(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
