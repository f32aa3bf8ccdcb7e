package validate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Limits bounds what the strict reader accepts inside a body whose size is
// already bounded. A document that breaks one is refused with 400.
type Limits struct {
	// How deep arrays and objects may nest. Default: 64.
	Depth int `json:"depth,omitempty"`

	// How many values (members, items and the document itself) one body may
	// hold. Default: 100000. A value of one byte costs some 300 bytes of memory
	// while it is checked, so this is what bounds memory.
	Values int `json:"values,omitempty"`

	// How many members one object may have. Default: 1000.
	Members int `json:"members,omitempty"`

	// How many items one array may have. Default: 10000.
	Items int `json:"items,omitempty"`

	// How many bytes one string, or one member's name, may have after its
	// escapes are resolved. Default: 0, which means as many as the body.
	String int `json:"string,omitempty"`
}

// Numbers beyond these would cost more to compare than the body they came in:
// a schema's minimum is compared exactly, so 1e999999 means a million digits.
const (
	maxNumberLength   = 128
	maxNumberExponent = 308 // that of a float64; RFC 8259, section 6
)

// maxDepth keeps the reader's recursion, and the schema's, off the stack's end.
const maxDepth = 1000

// fields names the limits as the config does.
func (l *Limits) fields() map[string]*int {
	return map[string]*int{
		"depth": &l.Depth, "values": &l.Values, "members": &l.Members, "items": &l.Items, "string": &l.String,
	}
}

func (l Limits) validate() error {
	for name, v := range l.fields() {
		if *v < 0 {
			return fmt.Errorf("limits: %s must be positive, got %d", name, *v)
		}
	}
	if l.Depth > maxDepth {
		return fmt.Errorf("limits: depth must be at most %d, got %d", maxDepth, l.Depth)
	}
	return nil
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Depth:   cmp.Or(l.Depth, 64),
		Values:  cmp.Or(l.Values, 100_000),
		Members: cmp.Or(l.Members, 1000),
		Items:   cmp.Or(l.Items, 10_000),
		String:  l.String,
	}
}

// malformed says why a body is not a JSON document that every reader
// understands alike. Message is for the client and never quotes a value.
type malformed struct {
	Field   string
	Message string
}

func (m *malformed) Error() string { return m.Message }

// parse reads exactly one JSON document (RFC 8259) and refuses whatever two
// readers could understand differently (RFC 7493, I-JSON): duplicate members,
// invalid UTF-8, lone surrogates, a byte order mark, anything after the end.
// Numbers stay json.Number, so that none loses a digit.
func parse(data []byte, lim Limits) (any, error) {
	if strings.HasPrefix(string(data[:min(3, len(data))]), "\ufeff") {
		return nil, &malformed{Message: "must not begin with a byte order mark"}
	}
	if !utf8.Valid(data) {
		return nil, &malformed{Message: "must be UTF-8"}
	}
	p := parser{s: string(data), lim: lim}
	v, err := p.document()
	if err != nil {
		return nil, err
	}
	return v, nil
}

// parser is a recursive descent over one document; its depth is bounded by
// lim.Depth. It is used once, by one goroutine.
type parser struct {
	s      string
	i      int
	lim    Limits
	values int
	path   []step
}

func (p *parser) document() (any, *malformed) {
	p.space()
	v, err := p.value(0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.i < len(p.s) {
		return nil, p.syntax("data after the end of the document")
	}
	return v, nil
}

func (p *parser) value(depth int) (any, *malformed) {
	if p.values++; p.values > p.lim.Values {
		return nil, &malformed{Message: fmt.Sprintf("holds more than %d values", p.lim.Values)}
	}
	if p.i >= len(p.s) {
		return nil, p.syntax("the document ends too early")
	}
	switch c := p.s[p.i]; {
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		return wrap(p.string())
	case c == '-' || c >= '0' && c <= '9':
		return wrap(p.number())
	}
	return p.literal()
}

// wrap keeps a nil *malformed nil while the value becomes an any.
func wrap[T any](v T, err *malformed) (any, *malformed) {
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (p *parser) literal() (any, *malformed) {
	rest := p.s[p.i:]
	switch {
	case strings.HasPrefix(rest, "true"):
		p.i += 4
		return true, nil
	case strings.HasPrefix(rest, "false"):
		p.i += 5
		return false, nil
	case strings.HasPrefix(rest, "null"):
		p.i += 4
		return nil, nil
	}
	return nil, p.syntax("a value was expected")
}

func (p *parser) object(depth int) (any, *malformed) {
	if depth > p.lim.Depth {
		return nil, p.fail("is nested more than %d levels deep", p.lim.Depth)
	}
	p.i++ // {
	obj := map[string]any{}
	if p.space(); p.take('}') {
		return obj, nil
	}
	for {
		if len(obj) == p.lim.Members {
			return nil, p.fail("has more than %d members", p.lim.Members)
		}
		if err := p.member(obj, depth); err != nil {
			return nil, err
		}
		if p.space(); p.take(',') {
			p.space()
			continue
		}
		if p.take('}') {
			return obj, nil
		}
		return nil, p.syntax("a comma or the end of the object was expected")
	}
}

func (p *parser) member(obj map[string]any, depth int) *malformed {
	if p.i >= len(p.s) || p.s[p.i] != '"' {
		return p.syntax("the name of a member was expected")
	}
	name, err := p.string()
	if err != nil {
		return err
	}
	p.path = append(p.path, step{name: name})
	if _, twice := obj[name]; twice {
		return p.fail("appears more than once")
	}
	if p.space(); !p.take(':') {
		return p.syntax("a colon was expected")
	}
	p.space()
	v, err := p.value(depth)
	if err != nil {
		return err
	}
	p.path = p.path[:len(p.path)-1]
	obj[name] = v
	return nil
}

func (p *parser) array(depth int) (any, *malformed) {
	if depth > p.lim.Depth {
		return nil, p.fail("is nested more than %d levels deep", p.lim.Depth)
	}
	p.i++ // [
	arr := []any{}
	if p.space(); p.take(']') {
		return arr, nil
	}
	for {
		if len(arr) == p.lim.Items {
			return nil, p.fail("has more than %d items", p.lim.Items)
		}
		p.path = append(p.path, step{index: len(arr), isIndex: true})
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		p.path = p.path[:len(p.path)-1]
		arr = append(arr, v)
		if p.space(); p.take(',') {
			p.space()
			continue
		}
		if p.take(']') {
			return arr, nil
		}
		return nil, p.syntax("a comma or the end of the array was expected")
	}
}

// string reads a string; without escapes it is a slice of the document.
func (p *parser) string() (string, *malformed) {
	p.i++ // "
	start := p.i
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return p.bounded(p.s[start : p.i-1])
		case c == '\\':
			return p.escaped(start)
		case c < 0x20:
			return "", p.syntax("a control character in a string must be escaped")
		}
		p.i++
	}
	return "", p.syntax("a string does not end")
}

func (p *parser) bounded(s string) (string, *malformed) {
	if p.lim.String > 0 && len(s) > p.lim.String {
		return "", p.fail("has a string of more than %d bytes", p.lim.String)
	}
	return s, nil
}

// escaped goes on with a string that has at least one escape.
func (p *parser) escaped(start int) (string, *malformed) {
	b := make([]byte, p.i-start, p.i-start+16)
	copy(b, p.s[start:p.i])
	for p.i < len(p.s) {
		switch c := p.s[p.i]; {
		case c == '"':
			p.i++
			return p.bounded(string(b))
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			b = utf8.AppendRune(b, r)
		case c < 0x20:
			return "", p.syntax("a control character in a string must be escaped")
		default:
			b = append(b, c)
			p.i++
		}
	}
	return "", p.syntax("a string does not end")
}

var shortEscapes = map[byte]rune{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func (p *parser) escape() (rune, *malformed) {
	if p.i+1 >= len(p.s) {
		return 0, p.syntax("a string does not end")
	}
	c := p.s[p.i+1]
	if r, ok := shortEscapes[c]; ok {
		p.i += 2
		return r, nil
	}
	r, ok := p.hexEscape()
	if !ok {
		return 0, p.syntax("an unknown escape in a string")
	}
	if !utf16.IsSurrogate(r) {
		return r, nil
	}
	// RFC 8259, 8.2: what a reader makes of half a pair is unpredictable.
	low, ok := p.hexEscape()
	pair := utf16.DecodeRune(r, low)
	if !ok || pair == utf8.RuneError {
		return 0, p.syntax("half a surrogate pair in a string")
	}
	return pair, nil
}

// hexEscape reads one \uXXXX.
func (p *parser) hexEscape() (rune, bool) {
	if len(p.s)-p.i < 6 || p.s[p.i] != '\\' || p.s[p.i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(p.s[p.i+2:p.i+6], 16, 16)
	if err != nil {
		return 0, false
	}
	p.i += 6
	return rune(n), true
}

// number reads by the grammar of RFC 8259, section 6.
func (p *parser) number() (json.Number, *malformed) {
	start := p.i
	p.take('-')
	if !p.take('0') && p.digits() == 0 {
		return "", p.syntax("a digit was expected")
	}
	if p.take('.') && p.digits() == 0 {
		return "", p.syntax("a digit was expected")
	}
	exponent := ""
	if p.take('e') || p.take('E') {
		if !p.take('+') {
			p.take('-')
		}
		from := p.i
		if p.digits() == 0 {
			return "", p.syntax("a digit was expected")
		}
		exponent = p.s[from:p.i]
	}
	n := p.s[start:p.i]
	if len(n) > maxNumberLength || !smallExponent(exponent) {
		return "", p.fail("is a number out of range")
	}
	return json.Number(n), nil
}

func smallExponent(digits string) bool {
	if digits == "" {
		return true
	}
	n, err := strconv.Atoi(digits)
	return err == nil && n <= maxNumberExponent
}

func (p *parser) digits() (n int) {
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
		n++
	}
	return n
}

func (p *parser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

func (p *parser) take(c byte) bool {
	if p.i < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

// fail refuses the value at the current path.
func (p *parser) fail(format string, args ...any) *malformed {
	return &malformed{Field: fieldPath(p.path), Message: fmt.Sprintf(format, args...)}
}

// syntax refuses the document at the current byte.
func (p *parser) syntax(what string) *malformed {
	return &malformed{Message: fmt.Sprintf("is not valid JSON: %s (byte %d)", what, p.i)}
}
