package http

import (
	"errors"
	"io"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
)

// strictJSON decodes what RFC 8259 only advises against, duplicate names and
// invalid UTF-8, as the errors they are, and matches names in their exact case.
// Otherwise {"age":20,"AGE":5} could pass as one age and be stored as the other.
var strictJSON = huma.Format{
	Marshal:   func(w io.Writer, v any) error { return json.MarshalWrite(w, v) },
	Unmarshal: unmarshal,
}

// unmarshal is called twice by huma: to get what the schema is checked on, and
// to fill the operation's input. The second time it goes on after a value of the
// wrong type, so that the rules of the other fields are checked as well.
func unmarshal(data []byte, v any) error {
	if _, first := v.(*any); first {
		return syntaxError(json.Unmarshal(data, v))
	}
	if err := json.Unmarshal(data, v, jsonv1.ReportErrorsWithLegacySemantics(true)); err != nil {
		return errors.New("body" + decodeMark + "has a value of the wrong type")
	}
	return nil
}

// decodeMark stands between the field and what is wrong with it. Huma keeps of a
// decoding error only its text.
const decodeMark = "\x1f"

// syntaxError words a decoding error for the client without quoting the body.
func syntaxError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax) && errors.Is(err, jsontext.ErrDuplicateName):
		return errors.New(location(syntax.JSONPointer) + decodeMark + "is there twice")
	}
	return errors.New("body" + decodeMark + "is not valid JSON")
}

// location turns a JSON pointer into huma's notation: /profile/bio, body.profile.bio.
func location(p jsontext.Pointer) string {
	return "body" + strings.ReplaceAll(string(p), "/", ".")
}
