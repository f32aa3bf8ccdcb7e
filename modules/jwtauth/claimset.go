package jwtauth

import (
	"encoding/binary"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// claimSet holds the claims of a token, or the members of an object within, in
// one string: members in the order of their names, each the name and the value.
// A text is its length in two bytes (a token has at most 8 KiB) and its bytes; a
// value is its kind and a text.
//
// Claims are kept like this because they are kept by the hundred thousand: a
// tree of maps costs the garbage collector dozens of objects to follow per token
// and cycle, a string is one object in which there is nothing to follow.
type claimSet string

// claim is a view of one value in a claimSet. The zero claim is that of a claim
// which is not there.
type claim struct {
	kind claimKind
	data string // text and numbers as they are; elements of a list; members of an object
}

type claimKind byte

// The kinds of JSON.
const (
	kindNull   claimKind = 'n'
	kindTrue   claimKind = 't'
	kindFalse  claimKind = 'f'
	kindNumber claimKind = '0'
	kindString claimKind = '"'
	kindList   claimKind = '['
	kindObject claimKind = '{'
)

// lengthSize is the number of bytes that say how long a text is.
const lengthSize = 2

// appendMembers packs what decodeObject returned. What is appended is a claimSet.
func appendMembers(b []byte, members map[string]any) []byte {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		b = appendValue(appendText(b, name), members[name])
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func appendValue(b []byte, v any) []byte {
	kind := kindOf(v)
	b = append(b, byte(kind))
	at := len(b)
	b = append(b, make([]byte, lengthSize)...)
	switch v := v.(type) {
	case string:
		b = append(b, v...)
	case json.Number:
		b = append(b, v...)
	case []any:
		for _, element := range v {
			b = appendValue(b, element)
		}
	case map[string]any:
		b = appendMembers(b, v)
	}
	binary.BigEndian.PutUint16(b[at:], uint16(len(b)-at-lengthSize))
	return b
}

func kindOf(v any) claimKind {
	switch v := v.(type) {
	case string:
		return kindString
	case json.Number:
		return kindNumber
	case []any:
		return kindList
	case map[string]any:
		return kindObject
	case bool:
		if v {
			return kindTrue
		}
		return kindFalse
	default:
		return kindNull
	}
}

func cutText(s string) (text, rest string) {
	end := lengthSize + (int(s[0])<<8 | int(s[1]))
	return s[lengthSize:end], s[end:]
}

func cutClaim(s string) (c claim, rest string) {
	c.kind = claimKind(s[0])
	c.data, rest = cutText(s[1:])
	return c, rest
}

// all are the members, in the order of their names.
func (s claimSet) all() iter.Seq2[string, claim] {
	return func(yield func(string, claim) bool) {
		for rest := string(s); rest != ""; {
			var name string
			var c claim
			name, rest = cutText(rest)
			if c, rest = cutClaim(rest); !yield(name, c) {
				return
			}
		}
	}
}

func (s claimSet) get(name string) (claim, bool) {
	for rest := string(s); rest != ""; {
		var found string
		var c claim
		found, rest = cutText(rest)
		if c, rest = cutClaim(rest); found == name {
			return c, true
		}
	}
	return claim{}, false
}

// find finds a claim by name or, in nested objects, by a path with dots. A name
// that itself contains dots (https://example.com/role) is found first.
func (s claimSet) find(path string) (claim, bool) {
	if c, found := s.get(path); found {
		return c, true
	}
	for i := range len(path) {
		if path[i] != '.' {
			continue
		}
		outer, _ := s.get(path[:i])
		if outer.kind != kindObject {
			continue
		}
		if c, found := claimSet(outer.data).find(path[i+1:]); found {
			return c, true
		}
	}
	return claim{}, false
}

// elements are those of a list; anything else has none.
func (c claim) elements() iter.Seq[claim] {
	return func(yield func(claim) bool) {
		if c.kind != kindList {
			return
		}
		for rest := c.data; rest != ""; {
			var element claim
			if element, rest = cutClaim(rest); !yield(element) {
				return
			}
		}
	}
}

// plain reports whether the value is a string, a number, true or false.
func (c claim) plain() bool {
	switch c.kind {
	case kindString, kindNumber, kindTrue, kindFalse:
		return true
	default:
		return false
	}
}

// empty reports whether there is no claim, or null or "".
func (c claim) empty() bool {
	return c.kind == 0 || c.kind == kindNull || c.kind == kindString && c.data == ""
}

// text writes plain values as they are, lists of these with commas, and all else
// as JSON. It is "" for null and without a claim.
func (c claim) text() string {
	switch c.kind {
	case 0, kindNull:
		return ""
	case kindString, kindNumber:
		return c.data
	case kindTrue, kindFalse:
		return strconv.FormatBool(c.kind == kindTrue)
	case kindList:
		if text, ok := c.words(); ok {
			return text
		}
	}
	b, err := json.Marshal(c.value())
	if err != nil {
		return ""
	}
	return string(b)
}

// words joins the elements of a list of plain values.
func (c claim) words() (string, bool) {
	var b strings.Builder
	b.Grow(len(c.data))
	comma := ""
	for element := range c.elements() {
		if !element.plain() {
			return "", false
		}
		b.WriteString(comma)
		b.WriteString(element.text())
		comma = ","
	}
	return b.String(), true
}

// value unpacks.
func (c claim) value() any {
	switch c.kind {
	case kindString:
		return c.data
	case kindNumber:
		return json.Number(c.data)
	case kindTrue, kindFalse:
		return c.kind == kindTrue
	case kindList:
		list := []any{}
		for element := range c.elements() {
			list = append(list, element.value())
		}
		return list
	case kindObject:
		members := map[string]any{}
		for name, member := range claimSet(c.data).all() {
			members[name] = member.value()
		}
		return members
	default:
		return nil
	}
}
