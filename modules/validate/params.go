package validate

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// parameter is one parameter of an operation: where it stands in a request, how
// it is written there (OpenAPI 3.1, "Style Values"), and what it must be.
type parameter struct {
	name     string
	in       string // path, query, header, cookie
	required bool
	style    string
	explode  bool
	asJSON   bool  // declared by content: the text is JSON
	rule     *rule // nil accepts everything
	reader   *textReader

	allowEmpty bool   // a value that is empty may be anything
	fill       string // what goes on where it is missing, as it is written; "" for nothing
}

// maxQuery bounds the parameters of a query.
const maxQuery = 10_000

// arguments is where a request's parameters are looked for.
type arguments struct {
	path     []string // values, escaped, in the order of the path's names
	names    []string
	rawQuery string
	query    url.Values
	header   http.Header
	cookies  []*http.Cookie
}

// newArguments reads what there is; the issue says that the query cannot be
// read in one way only.
func newArguments(r *http.Request, item *pathItem, values []string) (*arguments, []Issue) {
	if n := strings.Count(r.URL.RawQuery, "&"); n >= maxQuery {
		return nil, []Issue{{Field: "query", Message: fmt.Sprintf("has more than %d parameters", maxQuery)}}
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, []Issue{{Field: "query", Message: "is malformed"}}
	}
	return &arguments{
		path: values, names: item.names, rawQuery: r.URL.RawQuery,
		query: query, header: r.Header, cookies: r.Cookies(),
	}, nil
}

// check returns what is wrong with the parameter in a request, and whether it is
// there at all.
func (p *parameter) check(args *arguments) (issues []Issue, present bool) {
	field := p.in + "." + p.name
	if !plainName(p.name) {
		field = p.in + fieldPath([]step{{name: p.name}})
	}
	value, present, fault := p.read(args)
	switch {
	case fault != "":
		return []Issue{{field, fault}}, true
	case !present && p.required:
		return []Issue{{field, "is required"}}, false
	case !present:
		return nil, false
	case p.allowEmpty && slices.Equal(args.query[p.name], []string{""}):
		return nil, true
	}
	issues = p.rule.check(value)
	for i := range issues {
		if f := issues[i].Field; f != "" && !strings.HasPrefix(f, "[") {
			issues[i].Field = field + "." + f
		} else {
			issues[i].Field = field + f
		}
	}
	return issues, true
}

// read returns the parameter's value as the schema takes it.
func (p *parameter) read(args *arguments) (value any, present bool, fault string) {
	switch p.in {
	case "path":
		return p.fromPath(args)
	case "query":
		return p.fromQuery(args)
	case "header":
		values := args.header.Values(p.name)
		if len(values) == 0 {
			return nil, false, ""
		}
		if p.reader.kinds.scalar() || p.asJSON {
			return p.once(values)
		}
		return p.joined(strings.Join(values, ","), ",", plain)
	}
	var values []string
	for _, c := range args.cookies {
		if c.Name == p.name {
			values = append(values, c.Value)
		}
	}
	if len(values) == 0 {
		return nil, false, ""
	}
	if len(values) > 1 || p.reader.kinds.scalar() || p.asJSON {
		return p.once(values)
	}
	return p.joined(values[0], ",", plain)
}

// once reads a value that must not be there twice: which of the two counts
// would be for the upstream to guess.
func (p *parameter) once(values []string) (any, bool, string) {
	if len(values) > 1 {
		return nil, true, "must be given once"
	}
	if !p.asJSON {
		return p.reader.scalar(values[0]), true, ""
	}
	v, err := parse([]byte(values[0]), Limits{}.withDefaults())
	if err != nil {
		return nil, true, "must be JSON"
	}
	return v, true, ""
}

// plain and unescaped say whether the parts of a text are still escaped.
func plain(s string) (string, bool) { return s, true }

func unescaped(s string) (string, bool) {
	v, err := url.PathUnescape(s)
	return v, err == nil
}

func unescapedQuery(s string) (string, bool) {
	v, err := url.QueryUnescape(s)
	return v, err == nil
}

// joined reads an array or an object that is written in one text: a,b,c or
// k,v,k,v or, exploded, k=v,k=v.
func (p *parameter) joined(text, separator string, decode func(string) (string, bool)) (any, bool, string) {
	var pieces []string
	if text != "" {
		pieces = strings.Split(text, separator)
	}
	for i, piece := range pieces {
		if p.in == "header" {
			piece = strings.TrimSpace(piece)
		}
		plain, ok := decode(piece)
		if !ok {
			return nil, true, "is malformed"
		}
		pieces[i] = plain
	}
	if !p.reader.kinds.object {
		return p.reader.list(pieces), true, ""
	}
	return p.members(pieces)
}

func (p *parameter) members(pieces []string) (any, bool, string) {
	if p.explode {
		pairs := make([]string, 0, 2*len(pieces))
		for _, piece := range pieces {
			name, value, _ := strings.Cut(piece, "=")
			pairs = append(pairs, name, value)
		}
		pieces = pairs
	}
	if len(pieces)%2 != 0 {
		return nil, true, "must be pairs of names and values"
	}
	obj := map[string]any{}
	for i := 0; i < len(pieces); i += 2 {
		if _, twice := obj[pieces[i]]; twice {
			return nil, true, "must name each member once"
		}
		obj[pieces[i]] = p.reader.members[pieces[i]].scalar(pieces[i+1])
	}
	return obj, true, ""
}

// fromPath reads the styles simple, label and matrix.
func (p *parameter) fromPath(args *arguments) (any, bool, string) {
	i := slices.Index(args.names, p.name)
	if i < 0 {
		return nil, false, ""
	}
	text, separator := args.path[i], ","
	switch p.style {
	case "label":
		rest, ok := strings.CutPrefix(text, ".")
		if !ok {
			return nil, true, "must begin with a dot"
		}
		if text = rest; p.explode {
			separator = "."
		}
	case "matrix":
		rest, ok := strings.CutPrefix(text, ";")
		if !ok {
			return nil, true, "must begin with a semicolon"
		}
		return p.fromMatrix(rest)
	}
	if p.reader.kinds.scalar() || p.asJSON {
		plain, ok := unescaped(text)
		if !ok {
			return nil, true, "is malformed"
		}
		return p.once([]string{plain})
	}
	return p.joined(text, separator, unescaped)
}

// fromMatrix reads name=a,b and, exploded, name=a;name=b or k=v;k=v.
func (p *parameter) fromMatrix(text string) (any, bool, string) {
	if p.explode && p.reader.kinds.object {
		return p.joined(text, ";", unescaped)
	}
	var values []string
	for piece := range strings.SplitSeq(text, ";") {
		value, ok := strings.CutPrefix(piece, p.name+"=")
		if !ok {
			return nil, true, "must be written as ;" + p.name + "=value"
		}
		values = append(values, value)
	}
	if p.reader.kinds.scalar() {
		plain, ok := unescaped(values[0])
		if !ok {
			return nil, true, "is malformed"
		}
		values[0] = plain
		return p.once(values)
	}
	if !p.explode && len(values) == 1 {
		return p.joined(values[0], ",", unescaped)
	}
	return p.joined(strings.Join(values, ";"), ";", unescaped)
}

// fromQuery reads the styles form, spaceDelimited, pipeDelimited, deepObject.
func (p *parameter) fromQuery(args *arguments) (any, bool, string) {
	k := p.reader.kinds
	switch {
	case p.style == "deepObject":
		return p.deepObject(args.query)
	case k.object && p.explode && !p.asJSON:
		return p.spread(args.query)
	}
	values := args.query[p.name]
	if len(values) == 0 {
		return nil, false, ""
	}
	if k.scalar() || p.asJSON {
		return p.once(values)
	}
	if p.explode {
		return p.reader.list(values), true, ""
	}
	raw := rawValues(args.rawQuery, p.name)
	if len(raw) > 1 {
		return nil, true, "must be given once"
	}
	return p.joined(p.separated(raw[0]), ",", unescapedQuery)
}

// separated writes a list of any style with commas. What separates is told
// from what belongs to a value by being unescaped, except for a space, which
// cannot be written any other way.
func (p *parameter) separated(raw string) string {
	switch p.style {
	case "spaceDelimited":
		return strings.NewReplacer(",", "%2C", "%20", ",", "+", ",").Replace(raw)
	case "pipeDelimited":
		return strings.NewReplacer(",", "%2C", "|", ",", "%7C", ",", "%7c", ",").Replace(raw)
	}
	return raw
}

// rawValues returns the values of a name in a query as they were sent.
func rawValues(rawQuery, name string) []string {
	var values []string
	for pair := range strings.SplitSeq(rawQuery, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(key); err == nil && plain == name {
			values = append(values, value)
		}
	}
	return values
}

// takes tells whether a key of a query or form belongs to the parameter.
func (p *parameter) takes(key string) bool {
	switch {
	case p.style == "deepObject":
		return strings.HasPrefix(key, p.name+"[") && strings.HasSuffix(key, "]")
	case p.reader.kinds.object && p.explode:
		return p.reader.members[key] != nil
	}
	return key == p.name
}

// deepObject reads name[member]=value.
func (p *parameter) deepObject(query url.Values) (any, bool, string) {
	obj := map[string]any{}
	for key, values := range query {
		member, ok := strings.CutPrefix(key, p.name+"[")
		if !ok || !strings.HasSuffix(member, "]") {
			continue
		}
		member = strings.TrimSuffix(member, "]")
		if fault := p.memberFrom(obj, member, values); fault != "" {
			return nil, true, fault
		}
	}
	return obj, len(obj) > 0, ""
}

// spread reads an object whose members are parameters of their own.
func (p *parameter) spread(query url.Values) (any, bool, string) {
	obj := map[string]any{}
	for member := range p.reader.members {
		if values, ok := query[member]; ok {
			if fault := p.memberFrom(obj, member, values); fault != "" {
				return nil, true, fault
			}
		}
	}
	return obj, len(obj) > 0, ""
}

func (p *parameter) memberFrom(obj map[string]any, member string, values []string) (fault string) {
	reader := p.reader.members[member]
	if reader != nil && reader.kinds.array {
		obj[member] = reader.list(values)
		return ""
	}
	if len(values) > 1 {
		return "must name each member once"
	}
	obj[member] = reader.scalar(values[0])
	return ""
}
