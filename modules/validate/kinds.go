package validate

import (
	"encoding/json"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// kinds says which types a schema lets a value have. Parameters and forms come
// as text; this decides what the text is read as before it is checked.
type kinds struct {
	number, boolean, text, array, object bool
}

func (k kinds) scalar() bool { return !k.array && !k.object }

// kindsOf gathers the types that a schema, and what it refers to and combines,
// names. A schema that names none takes text.
func kindsOf(s *jsonschema.Schema) kinds {
	var k kinds
	k.gather(s, 0)
	if k == (kinds{}) {
		k.text = true
	}
	return k
}

func (k *kinds) gather(s *jsonschema.Schema, depth int) {
	if s == nil || depth > maxReferences {
		return
	}
	if s.Types != nil {
		names := s.Types.ToStrings()
		k.number = k.number || slices.Contains(names, "number") || slices.Contains(names, "integer")
		k.boolean = k.boolean || slices.Contains(names, "boolean")
		k.text = k.text || slices.Contains(names, "string")
		k.array = k.array || slices.Contains(names, "array")
		k.object = k.object || slices.Contains(names, "object")
		return
	}
	k.gather(s.Ref, depth+1)
	for _, list := range [][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
		for _, part := range list {
			k.gather(part, depth+1)
		}
	}
}

// parts calls f with a schema and all that applies to the same value.
func parts(s *jsonschema.Schema, f func(*jsonschema.Schema)) {
	var l layer
	l.gather(s)
	for _, part := range l.schemas {
		f(part)
		for _, alternative := range slices.Concat(part.AnyOf, part.OneOf, choices(part)) {
			f(alternative)
		}
	}
}

// itemsOf returns the schema of an array's items, nil if it has none.
func itemsOf(s *jsonschema.Schema) (items *jsonschema.Schema) {
	parts(s, func(part *jsonschema.Schema) {
		if items != nil {
			return
		}
		if items = part.Items2020; items == nil {
			items, _ = part.Items.(*jsonschema.Schema)
		}
	})
	return items
}

// propertiesOf returns the declared members of an object.
func propertiesOf(s *jsonschema.Schema) map[string]*jsonschema.Schema {
	all := map[string]*jsonschema.Schema{}
	parts(s, func(part *jsonschema.Schema) {
		for name, p := range part.Properties {
			all[name] = p
		}
	})
	return all
}

// textReader turns text into values by a schema. It is built at Provision,
// because finding out what a schema takes is a walk.
type textReader struct {
	kinds   kinds
	items   *textReader            // for arrays
	members map[string]*textReader // for objects
}

func newTextReader(s *jsonschema.Schema, depth int) *textReader {
	if s == nil || depth > 3 {
		return &textReader{kinds: kinds{text: true}}
	}
	tr := &textReader{kinds: kindsOf(s)}
	if tr.kinds.array {
		tr.items = newTextReader(itemsOf(s), depth+1)
	}
	if tr.kinds.object {
		tr.members = map[string]*textReader{}
		for name, p := range propertiesOf(s) {
			tr.members[name] = newTextReader(p, depth+1)
		}
	}
	return tr
}

// scalar reads one value. Text that does not look like what the schema wants
// stays text, and the schema says what is wrong with it.
func (tr *textReader) scalar(text string) any {
	if tr == nil {
		return text
	}
	if tr.kinds.number {
		if n, ok := numberIn(text); ok {
			return n
		}
	}
	if tr.kinds.boolean && (text == "true" || text == "false") {
		return text == "true"
	}
	return text
}

// list reads the items of an array.
func (tr *textReader) list(texts []string) any {
	values := make([]any, len(texts))
	for i, text := range texts {
		values[i] = tr.items.scalar(text)
	}
	return values
}

func numberIn(text string) (json.Number, bool) {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return "", false
	}
	p := parser{s: text}
	n, err := p.number()
	return n, err == nil && p.i == len(text)
}
