package validate

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// rewriter changes a document that the schema has accepted: it removes members
// that no schema declares and adds members that are missing but have a
// default. It works on the text, so numbers and strings go on as they came.
// It is built at Provision, for one schema or for all of a document that share
// parts, and is then safe for concurrent use.
type rewriter struct {
	strip    bool
	defaults bool
	layers   map[*jsonschema.Schema]*layer
}

// layer is all that describes one value in place: a schema with what it refers
// to, what it combines by allOf, and what it applies on conditions.
type layer struct {
	schemas []*jsonschema.Schema

	// Alternatives (oneOf, anyOf, discriminator) or constants decide here, and what one
	// alternative declares another might not: nothing in the value changes.
	opaque bool

	// Unknown members stay: additionalProperties or unevaluatedProperties
	// speaks about them, or no member is declared at all.
	open bool

	// Members that have a default, by name, as JSON.
	defaults []defaultMember
}

type defaultMember struct {
	name string // as written in the schema
	text []byte // "name":value
}

// newRewriter returns nil when nothing is to be changed.
func newRewriter(strip, defaults bool) *rewriter {
	if !strip && !defaults {
		return nil
	}
	return &rewriter{strip: strip, defaults: defaults, layers: map[*jsonschema.Schema]*layer{}}
}

// learn builds the layers of a schema and of all it leads to. All schemas
// are learned before the first apply.
func (rw *rewriter) learn(s *jsonschema.Schema) {
	if rw == nil || s == nil || rw.layers[s] != nil {
		return
	}
	l := &layer{}
	rw.layers[s] = l
	l.gather(s)
	l.settle()
	for _, part := range l.schemas {
		rw.learnChildren(part)
	}
}

func (rw *rewriter) learnChildren(s *jsonschema.Schema) {
	for _, p := range s.Properties {
		rw.learn(p)
	}
	for _, p := range s.PatternProperties {
		rw.learn(p)
	}
	for _, p := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		switch p := p.(type) {
		case *jsonschema.Schema:
			rw.learn(p)
		case []*jsonschema.Schema:
			for _, item := range p {
				rw.learn(item)
			}
		}
	}
	for _, item := range s.PrefixItems {
		rw.learn(item)
	}
	for _, p := range []*jsonschema.Schema{s.Items2020, s.Contains, s.UnevaluatedItems, s.UnevaluatedProperties} {
		rw.learn(p)
	}
}

// gather collects the schemas that apply to the same value as s.
func (l *layer) gather(s *jsonschema.Schema) {
	if s == nil || slices.Contains(l.schemas, s) {
		return
	}
	l.schemas = append(l.schemas, s)
	if len(s.AnyOf) > 0 || len(s.OneOf) > 0 || s.Const != nil || s.Enum != nil || s.Extensions != nil ||
		s.DynamicRef != nil || s.RecursiveRef != nil {
		l.opaque = true
	}
	for _, part := range append([]*jsonschema.Schema{s.Ref, s.If, s.Then, s.Else}, s.AllOf...) {
		l.gather(part)
	}
	for _, part := range s.DependentSchemas {
		l.gather(part)
	}
	for _, dep := range s.Dependencies {
		if part, ok := dep.(*jsonschema.Schema); ok {
			l.gather(part)
		}
	}
}

// settle derives what the gathered schemas mean together.
func (l *layer) settle() {
	declared := false
	var defaults map[string][]byte
	for _, s := range l.schemas {
		if s.AdditionalProperties != nil || s.UnevaluatedProperties != nil {
			l.open = true
		}
		if len(s.Properties) > 0 || len(s.PatternProperties) > 0 {
			declared = true
		}
		for name, p := range s.Properties {
			text := defaultText(name, p)
			if text == nil {
				continue
			}
			if defaults == nil {
				defaults = map[string][]byte{}
			}
			defaults[name] = text
		}
	}
	l.open = l.open || !declared
	for _, name := range slices.Sorted(maps.Keys(defaults)) {
		l.defaults = append(l.defaults, defaultMember{name, defaults[name]})
	}
}

func defaultText(name string, p *jsonschema.Schema) []byte {
	fallback := defaultOf(p, 0)
	if fallback == nil {
		return nil
	}
	key, err := json.Marshal(name)
	if err != nil {
		return nil
	}
	value, err := json.Marshal(*fallback)
	if err != nil {
		return nil
	}
	return slices.Concat(key, []byte(":"), value)
}

// declares tells whether a member of this name has a meaning in the layer.
func (l *layer) declares(name string) bool {
	return slices.ContainsFunc(l.schemas, func(s *jsonschema.Schema) bool {
		if _, ok := s.Properties[name]; ok {
			return true
		}
		for re := range s.PatternProperties {
			if re.MatchString(name) {
				return true
			}
		}
		return slices.Contains(s.Required, name) || dependsOn(s, name)
	})
}

func dependsOn(s *jsonschema.Schema, name string) bool {
	if _, ok := s.DependentSchemas[name]; ok {
		return true
	}
	if _, ok := s.Dependencies[name]; ok {
		return true
	}
	for trigger, required := range s.DependentRequired {
		if trigger == name || slices.Contains(required, name) {
			return true
		}
	}
	return false
}

// apply returns the document as it goes to the upstream, and whether it
// differs from doc. doc must have passed parse and check.
func (rw *rewriter) apply(doc []byte, root *jsonschema.Schema) ([]byte, bool) {
	w := writing{rw: rw, src: doc, out: make([]byte, 0, len(doc)+64)}
	w.value([]*layer{rw.layers[root]})
	if !w.changed {
		return doc, false
	}
	return w.out, true
}

// writing is one pass over one document. The source is known to be valid, so
// the scanner looks no closer than it must.
type writing struct {
	rw      *rewriter
	src     []byte
	i       int
	out     []byte
	changed bool
}

// value copies the next value as its layers allow; no layers means as it is.
func (w *writing) value(layers []*layer) {
	w.space()
	opaque := len(layers) == 0 || slices.ContainsFunc(layers, func(l *layer) bool { return l.opaque })
	switch {
	case opaque || (w.src[w.i] != '{' && w.src[w.i] != '['):
		start := w.i
		w.skip()
		w.out = append(w.out, w.src[start:w.i]...)
	case w.src[w.i] == '{':
		w.object(layers)
	default:
		w.array(layers)
	}
}

func (w *writing) object(layers []*layer) {
	w.i++ // {
	w.out = append(w.out, '{')
	open := slices.ContainsFunc(layers, func(l *layer) bool { return l.open })
	var seen []string
	first := true
	for w.space(); w.src[w.i] != '}'; w.space() {
		start := w.i
		w.skip()
		key := w.src[start:w.i]
		name := unquote(key)
		seen = append(seen, name)
		w.space()
		w.i++ // :
		if w.rw.strip && !open && !declared(layers, name) {
			w.space()
			w.skip()
			w.changed = true
		} else {
			w.separate(&first)
			w.out = append(append(w.out, key...), ':')
			w.value(w.rw.memberLayers(layers, name))
		}
		w.comma()
	}
	w.i++ // }
	if w.rw.defaults {
		w.addDefaults(layers, seen, first)
	}
	w.out = append(w.out, '}')
}

func (w *writing) addDefaults(layers []*layer, seen []string, first bool) {
	for _, l := range layers {
		for _, d := range l.defaults {
			if slices.Contains(seen, d.name) {
				continue
			}
			seen = append(seen, d.name)
			w.separate(&first)
			w.out = append(w.out, d.text...)
			w.changed = true
		}
	}
}

func (w *writing) array(layers []*layer) {
	w.i++ // [
	w.out = append(w.out, '[')
	first := true
	for n := 0; ; n++ {
		if w.space(); w.src[w.i] == ']' {
			break
		}
		w.separate(&first)
		w.value(w.rw.itemLayers(layers, n))
		w.comma()
	}
	w.i++ // ]
	w.out = append(w.out, ']')
}

func (w *writing) separate(first *bool) {
	if !*first {
		w.out = append(w.out, ',')
	}
	*first = false
}

func (w *writing) comma() {
	if w.space(); w.src[w.i] == ',' {
		w.i++
	}
}

func (w *writing) space() {
	for strings.IndexByte(" \t\r\n", w.src[w.i]) >= 0 {
		w.i++
	}
}

// skip moves behind the next value.
func (w *writing) skip() {
	depth := 0
	for {
		switch w.src[w.i] {
		case '"':
			w.skipString()
		case '{', '[':
			depth++
			w.i++
		case '}', ']':
			depth--
			w.i++
		case ',', ':', ' ', '\t', '\r', '\n':
			w.i++
		default:
			w.skipWord()
		}
		if depth == 0 {
			return
		}
	}
}

func (w *writing) skipString() {
	for w.i++; w.src[w.i] != '"'; w.i++ {
		if w.src[w.i] == '\\' {
			w.i++
		}
	}
	w.i++
}

// skipWord moves behind a number, true, false or null.
func (w *writing) skipWord() {
	end := bytes.IndexAny(w.src[w.i:], ",:]} \t\r\n")
	if end < 0 {
		end = len(w.src) - w.i
	}
	w.i += end
}

func declared(layers []*layer, name string) bool {
	return slices.ContainsFunc(layers, func(l *layer) bool { return l.declares(name) })
}

// memberLayers returns the layers that describe a member's value.
func (rw *rewriter) memberLayers(layers []*layer, name string) []*layer {
	var found []*layer
	for _, l := range layers {
		for _, s := range l.schemas {
			found = rw.appendMember(found, s, name)
		}
	}
	return found
}

func (rw *rewriter) appendMember(found []*layer, s *jsonschema.Schema, name string) []*layer {
	declared := false
	if p := s.Properties[name]; p != nil {
		found, declared = rw.appendLayer(found, p), true
	}
	for re, p := range s.PatternProperties {
		if re.MatchString(name) {
			found, declared = rw.appendLayer(found, p), true
		}
	}
	if declared {
		return found
	}
	if p, ok := s.AdditionalProperties.(*jsonschema.Schema); ok {
		found = rw.appendLayer(found, p)
	}
	if s.UnevaluatedProperties != nil {
		found = rw.appendLayer(found, s.UnevaluatedProperties)
	}
	return found
}

// appendLayer adds a schema's layer once: the same one again would double with
// each level of a schema that leads back to itself.
func (rw *rewriter) appendLayer(found []*layer, s *jsonschema.Schema) []*layer {
	if l := rw.layers[s]; !slices.Contains(found, l) {
		found = append(found, l)
	}
	return found
}

// itemLayers returns the layers that describe item n of an array.
func (rw *rewriter) itemLayers(layers []*layer, n int) []*layer {
	var found []*layer
	for _, l := range layers {
		for _, s := range l.schemas {
			for _, item := range itemSchemas(s, n) {
				found = rw.appendLayer(found, item)
			}
		}
	}
	return found
}

func itemSchemas(s *jsonschema.Schema, n int) []*jsonschema.Schema {
	var found []*jsonschema.Schema
	add := func(item *jsonschema.Schema) {
		if item != nil {
			found = append(found, item)
		}
	}
	switch items := s.Items.(type) {
	case *jsonschema.Schema:
		add(items)
	case []*jsonschema.Schema:
		if n < len(items) {
			add(items[n])
		} else if rest, ok := s.AdditionalItems.(*jsonschema.Schema); ok {
			add(rest)
		}
	}
	if n < len(s.PrefixItems) {
		add(s.PrefixItems[n])
	} else {
		add(s.Items2020)
	}
	add(s.Contains)
	add(s.UnevaluatedItems)
	return found
}

// unquote returns the name that a member's key spells.
func unquote(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1 : len(key)-1])
	}
	var name string
	if err := json.Unmarshal(key, &name); err != nil {
		return string(key)
	}
	return name
}
