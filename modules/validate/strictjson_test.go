package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParse_RefusesWhatReadersUnderstandDifferently(t *testing.T) {
	lim := Limits{Depth: 4, Values: 50, Members: 3, Items: 5, String: 20}
	cases := map[string]struct{ doc, field, message string }{
		"duplicate member":              {`{"a":1,"a":2}`, "a", "appears more than once"},
		"duplicate by escape":           {`{"a":1,"\u0061":2}`, "a", "appears more than once"},
		"duplicate deep inside":         {`{"x":[{"b":1},{"b":1,"b":1}]}`, "x[1].b", "appears more than once"},
		"data after the end":            {`{} {}`, "", "after the end"},
		"a comma after the end":         {`[1],`, "", "after the end"},
		"nothing":                       {``, "", "ends too early"},
		"only space":                    {" \n", "", "ends too early"},
		"unclosed object":               {`{"a":1`, "", "comma or the end of the object"},
		"unclosed string":               {`{"a":"b`, "", "string does not end"},
		"unclosed after escape":         {`"a\`, "", "string does not end"},
		"trailing comma":                {`[1,]`, "", "value was expected"},
		"trailing comma in object":      {`{"a":1,}`, "", "name of a member"},
		"single quotes":                 {`{'a':1}`, "", "name of a member"},
		"comment":                       {`{/**/}`, "", "name of a member"},
		"NaN":                           {`NaN`, "", "value was expected"},
		"Infinity":                      {`[-Infinity]`, "", "digit was expected"},
		"leading zero":                  {`[01]`, "", "comma or the end"},
		"plus sign":                     {`[+1]`, "", "value was expected"},
		"bare point":                    {`[1.]`, "", "digit was expected"},
		"bare exponent":                 {`[1e]`, "", "digit was expected"},
		"hexadecimal":                   {`[0x10]`, "", "comma or the end"},
		"raw newline in string":         {"[\"a\nb\"]", "", "control character"},
		"raw NUL after escape":          {"[\"\\n\x00\"]", "", "control character"},
		"unknown escape":                {`["\x41"]`, "", "unknown escape"},
		"short unicode escape":          {`["\u12"]`, "", "unknown escape"},
		"lone high surrogate":           {`["\ud800"]`, "", "surrogate"},
		"lone low surrogate":            {`["\udc00x"]`, "", "surrogate"},
		"two high surrogates":           {`["\ud800\ud800"]`, "", "surrogate"},
		"invalid UTF-8":                 {"[\"\xff\"]", "", "UTF-8"},
		"overlong UTF-8":                {"[\"\xc0\xaf\"]", "", "UTF-8"},
		"UTF-8 of a surrogate":          {"[\"\xed\xa0\x80\"]", "", "UTF-8"},
		"UTF-16":                        {"\xff\xfe[\x00]\x00", "", "UTF-8"},
		"byte order mark":               {"\ufeff{}", "", "byte order mark"},
		"too deep":                      {`[[[[[]]]]]`, "[0][0][0][0]", "nested more than 4"},
		"too deep in objects":           {`{"a":{"a":{"a":{"a":{}}}}}`, "a.a.a.a", "nested more than 4"},
		"too many members":              {`{"a":1,"b":1,"c":1,"d":1}`, "", "more than 3 members"},
		"too many items":                {`[1,2,3,4,5,6]`, "", "more than 5 items"},
		"too long a string":             {`["aaaaaaaaaaaaaaaaaaaaa"]`, "[0]", "more than 20 bytes"},
		"huge exponent":                 {`[1e999999999]`, "[0]", "out of range"},
		"huge negative exponent":        {`[1e-999999999]`, "[0]", "out of range"},
		"exponent beyond an int":        {`[1e99999999999999999999]`, "[0]", "out of range"},
		"a number of too many digits":   {`[` + strings.Repeat("9", 129) + `]`, "[0]", "out of range"},
		"too many values":               {`[[1,1,1,1],[1,1,1,1],[1,1,1,1],[1,1,1,1,1],[[[1,1,1,1,1],[1,1,1,1,1],[1,1,1,1,1],[1,1,1,1,1],[1,1,1,1,1]]]]`, "", "more than 50 values"},
		"a name that needs quoting":     {`{"a.b":{"c":[}}`, "", "value was expected"},
		"duplicate that needs quoting":  {`{"a.b":1,"a.b":2}`, `["a.b"]`, "more than once"},
		"duplicate of the empty name":   {`{"":1,"":2}`, `[""]`, "more than once"},
		"a member that misses its name": {`{:1}`, "", "name of a member"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			v, err := parse([]byte(c.doc), lim)
			var bad *malformed
			if !errors.As(err, &bad) {
				t.Fatalf("parse(%q) = %v, %v, want a refusal", c.doc, v, err)
			}
			if bad.Field != c.field || !strings.Contains(bad.Message, c.message) {
				t.Errorf("parse(%q): field %q, %q; want field %q, …%q…", c.doc, bad.Field, bad.Message, c.field, c.message)
			}
		})
	}
}

func TestParse_ReadsEveryKindOfValue(t *testing.T) {
	doc := ` {"s":"a\"\\\/\b\f\n\r\té😀\ud83d\ude00","n":[0,-1.5e+3,12345678901234567890],"t":true,"f":false,"z":null,"o":{},"a":[]} `
	got, err := parse([]byte(doc), Limits{}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"s": "a\"\\/\b\f\n\r\té😀😀",
		"n": []any{json.Number("0"), json.Number("-1.5e+3"), json.Number("12345678901234567890")},
		"t": true, "f": false, "z": nil, "o": map[string]any{}, "a": []any{},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parse = %#v\nwant    %#v", got, want)
	}
}

// What the strict reader accepts, the usual reader must read the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"x\u0041"],"b":{"c":null}}`, `"\ud83d\ude00"`, `[[[[]]]]`, `-0`, "{\"\u00e9\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := parse(data, Limits{}.withDefaults())
		if err != nil {
			return
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("parse(%q) = %#v, encoding/json reads %#v", data, got, want)
		}
	})
}
