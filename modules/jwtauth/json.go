package jwtauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// maxJSONDepth bounds nesting in headers, claims and key sets.
const maxJSONDepth = 32

var (
	errNotObject = errors.New("not a JSON object")
	errTooDeep   = errors.New("JSON nested too deeply")
	errTrailing  = errors.New("bytes after the JSON value")
)

// decodeObject reads exactly one JSON object, strictly: no duplicate members,
// no invalid UTF-8, nothing after it (RFC 7493, RFC 8725, 2.6).
// Numbers stay json.Number, so that a large user id keeps its digits.
func decodeObject(b []byte) (map[string]any, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(b))
	if dec.PeekKind() != '{' {
		return nil, errNotObject
	}
	v, err := decodeValue(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errTrailing
	}
	return v.(map[string]any), nil
}

func decodeValue(dec *jsontext.Decoder) (any, error) {
	if dec.StackDepth() > maxJSONDepth {
		return nil, errTooDeep
	}
	tok, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	switch tok.Kind() {
	case '{':
		return decodeMembers(dec)
	case '[':
		return decodeElements(dec)
	case '"':
		return tok.String(), nil
	case '0':
		return json.Number(tok.String()), nil
	case 't', 'f':
		return tok.Bool(), nil
	default:
		return nil, nil //nolint:nilnil // JSON null
	}
}

func decodeMembers(dec *jsontext.Decoder) (map[string]any, error) {
	object := make(map[string]any, 8)
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token is only valid until the next read
		if object[key], err = decodeValue(dec); err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return object, err
}

func decodeElements(dec *jsontext.Decoder) ([]any, error) {
	list := []any{}
	for dec.PeekKind() != ']' {
		v, err := decodeValue(dec)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.ReadToken()
	return list, err
}
