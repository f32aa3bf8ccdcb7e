package validate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// skipExtension in an operation, with the value false, leaves it unchecked.
const skipExtension = "x-fairway-validate"

// documentOptions is what the config says about how a document is used.
type documentOptions struct {
	limits   Limits
	strip    bool
	defaults bool
	base     string   // overrides the paths of the document's servers
	skip     []string // operations that are not checked
	answers  bool     // responses are checked too
}

// document is an OpenAPI document, ready to check requests. It is immutable.
type document struct {
	title      string
	version    string
	operations int
	router     router
	folded     router // the same by foldPath, see disguised

	// Things in the document that are not checked, for a warning in the log.
	unchecked []string
}

// readDocument parses a document in JSON or YAML.
func readDocument(data []byte) (any, error) {
	if looksLikeJSON(data) {
		doc, err := parse(data, schemaLimits)
		var bad *malformed
		if errors.As(err, &bad) {
			return nil, bad.located()
		}
		return doc, err
	}
	var v any
	if err := yaml.Unmarshal(data, &v); err != nil {
		return nil, fmt.Errorf("is neither JSON nor YAML: %w", err)
	}
	return fromYAML(v), nil
}

func looksLikeJSON(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

// fromYAML makes values of YAML those that JSON has.
func fromYAML(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			v[key] = fromYAML(member)
		}
		return v
	case map[any]any: // responses: {200: …}
		obj := make(map[string]any, len(v))
		for key, member := range v {
			obj[fmt.Sprint(key)] = fromYAML(member)
		}
		return obj
	case []any:
		for i, item := range v {
			v[i] = fromYAML(item)
		}
		return v
	case nil, bool, string:
		return v
	case int, int64, uint64, float64:
		text, err := json.Marshal(v)
		if err != nil { // .inf and .nan
			return nil
		}
		return json.Number(text)
	}
	return fmt.Sprint(v) // a date
}

// compileDocument turns a parsed document into one that checks requests.
func compileDocument(doc any, opts documentOptions) (*document, error) {
	root := node{doc: doc, v: doc}
	version := root.at("openapi").text()
	v30 := strings.HasPrefix(version, "3.0.")
	if !v30 && !strings.HasPrefix(version, "3.1.") {
		return nil, fmt.Errorf("at /openapi: want a version 3.0.x or 3.1.x, got %q", version)
	}
	c := &documentCompiler{
		root: root, opts: opts,
		set: newSchemaSet(doc, v30, "readOnly"), rules: newRuleBuilder(), rewrite: newRewriter(opts.strip, opts.defaults),
	}
	if opts.answers {
		c.answers = newSchemaSet(doc, v30, "writeOnly")
	}
	c.out.title = root.at("info").at("title").text()
	c.out.version = root.at("info").at("version").text()
	if err := c.paths(); err != nil {
		return nil, err
	}
	return &c.out, c.checkSkips()
}

// documentCompiler walks a document twice: first it collects operations and
// the schemas they need, then, once the schemas are compiled, it binds them.
type documentCompiler struct {
	root    node
	opts    documentOptions
	set     *schemaSet // of requests
	answers *schemaSet // of responses, where other members are required; nil if they are not checked
	rules   *ruleBuilder
	rewrite *rewriter // shared by all operations
	out     document
	bind    []func() error // what to do once the schemas are compiled
	skipped []string
}

func (c *documentCompiler) paths() error {
	paths := c.root.at("paths")
	if paths.v != nil && paths.object() == nil {
		return paths.errorf("must be an object")
	}
	bases, err := c.bases(c.root, []string{""})
	if err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(paths.object())) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		n, err := paths.at(path).resolve()
		if err != nil {
			return err
		}
		if err := c.item(n, paths.at(path), path, bases); err != nil {
			return err
		}
	}
	return c.finish()
}

// finish compiles the schemas and binds them to what needs them.
func (c *documentCompiler) finish() error {
	if err := c.set.compile(); err != nil {
		return err
	}
	if c.answers != nil {
		if err := c.answers.compile(); err != nil {
			return err
		}
	}
	for _, bind := range c.bind {
		if err := bind(); err != nil {
			return err
		}
	}
	return nil
}

var methods = []string{"get", "put", "post", "delete", "options", "head", "patch", "trace"}

// item reads a Path Item Object, which stands at a place of the document that
// need not be the one that names its path.
func (c *documentCompiler) item(n, at node, path string, bases []string) error {
	bases, err := c.bases(n, bases)
	if err != nil {
		return err
	}
	// Also of a path without operations: it is known, and takes no method.
	if err := c.route(at, path, "", nil, bases); err != nil {
		return err
	}
	for _, method := range methods {
		if n.at(method).v == nil {
			continue
		}
		on, err := n.at(method).resolve()
		if err != nil {
			return err
		}
		name := strings.ToUpper(method)
		op, err := c.operation(on, n, name+" "+path, pathNames(path))
		if err != nil {
			return err
		}
		own, err := c.bases(on, bases)
		if err != nil {
			return err
		}
		if err := c.route(at, path, name, op, own); err != nil {
			return err
		}
		c.out.operations++
	}
	return nil
}

func (c *documentCompiler) operation(n, item node, name string, inPath []string) (*operation, error) {
	op := &operation{id: name}
	if id := n.at("operationId").text(); id != "" {
		op.id = id
	}
	for _, s := range c.opts.skip {
		if s == op.id || s == name {
			op.skip = true
			c.skipped = append(c.skipped, s)
		}
	}
	if checked, given := n.at(skipExtension).v.(bool); given && !checked {
		op.skip = true
	}
	if op.skip {
		return op, nil
	}
	if err := c.parameters(op, n, item, inPath); err != nil {
		return nil, err
	}
	if c.answers != nil {
		if err := c.responses(op, n); err != nil {
			return nil, err
		}
	}
	return op, c.requestBody(op, n)
}

// parameters gathers those of the path and those of the operation, which win
// (OpenAPI 3.1, Path Item Object).
func (c *documentCompiler) parameters(op *operation, n, item node, inPath []string) error {
	at := map[string]int{}
	for _, list := range []node{item.at("parameters"), n.at("parameters")} {
		entries, ok := list.v.([]any)
		if !ok && list.v != nil {
			return list.errorf("must be an array")
		}
		for i := range entries {
			p, err := c.parameter(list.at(fmt.Sprint(i)))
			if err != nil {
				return err
			}
			if p == nil {
				continue
			}
			key := p.in + " " + p.name
			if known, again := at[key]; again {
				op.params[known] = p
				continue
			}
			at[key] = len(op.params)
			op.params = append(op.params, p)
		}
	}
	for _, name := range inPath {
		if _, ok := at["path "+name]; !ok {
			return n.errorf("the path's parameter {%s} is not declared", name)
		}
	}
	return nil
}

func (c *documentCompiler) requestBody(op *operation, n node) error {
	if n.at("requestBody").v == nil {
		return nil
	}
	body, err := n.at("requestBody").resolve()
	if err != nil {
		return err
	}
	op.body = &requestBody{required: body.at("required").flag()}
	content := body.at("content")
	if len(content.object()) == 0 {
		return content.errorf("must name a media type")
	}
	for _, media := range slices.Sorted(maps.Keys(content.object())) {
		t := &bodyType{media: strings.ToLower(strings.TrimSpace(media))}
		op.body.types = append(op.body.types, t)
		if err := c.bodyType(t, content.at(media)); err != nil {
			return err
		}
	}
	slices.SortStableFunc(op.body.types, func(a, b *bodyType) int {
		return strings.Count(a.media, "*") - strings.Count(b.media, "*")
	})
	return nil
}

// bodyType has the type's schema compiled if it is one that can be checked.
func (c *documentCompiler) bodyType(t *bodyType, n node) error {
	schema := n.at("schema")
	isForm := t.media == "multipart/form-data" || t.media == "application/x-www-form-urlencoded"
	if schema.v == nil || !isForm && !isJSONType(t.media) && !strings.Contains(t.media, "*") {
		return nil
	}
	encode := func() {}
	if isForm {
		var err error
		if encode, err = c.encodings(t, n); err != nil {
			return err
		}
	}
	c.set.need(schema.ptr)
	c.bind = append(c.bind, func() error {
		s, err := c.set.schema(schema.ptr)
		if err != nil {
			return err
		}
		if !isForm {
			t.json = newBodyValidator(s, c.rules, c.opts.limits, c.rewrite)
			return nil
		}
		t.form = newFormValidator(s, c.rules, c.opts)
		encode()
		if err := t.form.checkDefaults(); err != nil {
			return schema.errorf("%w", err)
		}
		return nil
	})
	return nil
}

// checkSkips refuses names of operations that the document does not have.
func (c *documentCompiler) checkSkips() error {
	for _, s := range c.opts.skip {
		if !slices.Contains(c.skipped, s) {
			return fmt.Errorf("skip %q: the document has no such operation", s)
		}
	}
	return nil
}
