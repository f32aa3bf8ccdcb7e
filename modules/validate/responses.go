package validate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// responses is what the document says an operation answers.
type responses struct {
	operation string
	byStatus  map[string]*response // "200", "2XX", "default"
	logged    atomic.Int64         // when the last line was written, in ns since 1970
	unlogged  atomic.Int64         // faults since then that wrote none
}

// response is what the document says about one status.
type response struct {
	headers []*parameter
	types   []*responseType // the most specific first; empty if nothing is said
}

// responseType is one media type of a response's body.
type responseType struct {
	bodyType
	rule *rule // nil accepts everything
}

// answered is what an upstream answered, as much of it as is checked.
type answered struct {
	status int
	header http.Header
	media  string
	body   []byte
	wrote  bool   // there was a body
	unread string // why body is not there to be checked
}

// responseLimits bound what one answer holds. An upstream may send longer lists
// than clients may.
var responseLimits = Limits{Depth: 512, Values: 1 << 20, Members: 1 << 20, Items: 1 << 20}

// of returns what is declared for a status: the status itself, else its class,
// else default (OpenAPI 3.1, Responses Object).
func (rs *responses) of(status int) *response {
	for _, key := range []string{strconv.Itoa(status), strconv.Itoa(status/100) + "XX", "default"} {
		if declared := rs.byStatus[key]; declared != nil {
			return declared
		}
	}
	return nil
}

func (r *response) typeOf(media string) *responseType {
	i := slices.IndexFunc(r.types, func(t *responseType) bool { return t.matches(media) })
	if i < 0 {
		return nil
	}
	return r.types[i]
}

// check says what is wrong with an answer. A body of another type than JSON is
// not looked into.
func (rs *responses) check(a *answered) (outcome string, issues []Issue) {
	declared := rs.of(a.status)
	if declared == nil {
		return "undeclared_status", nil
	}
	args := &arguments{header: a.header}
	for _, p := range declared.headers {
		more, _ := p.check(args)
		issues = append(issues, more...)
	}
	if a.wrote && len(declared.types) > 0 {
		t := declared.typeOf(a.media)
		if t == nil {
			return "undeclared_type", nil
		}
		if t.rule != nil && a.unread == "" && isJSONType(a.media) {
			issues = append(issues, t.rule.checkBytes(a.body)...)
		}
	}
	if len(issues) > 0 {
		return "invalid", tidy(issues, 0)
	}
	return cmp.Or(a.unread, "valid"), nil
}

func (r *rule) checkBytes(body []byte) []Issue {
	doc, err := parse(body, responseLimits)
	var bad *malformed
	if errors.As(err, &bad) {
		return []Issue{{bad.Field, bad.Message}}
	}
	return r.check(doc)
}

// mayLog tells whether a fault may write a line now, and how many before it
// wrote none: one line for an operation and interval.
func (rs *responses) mayLog(now time.Time, interval time.Duration) (before int64, ok bool) {
	last := rs.logged.Load()
	if last != 0 && now.UnixNano()-last < int64(interval) || !rs.logged.CompareAndSwap(last, now.UnixNano()) {
		rs.unlogged.Add(1)
		return 0, false
	}
	return rs.unlogged.Swap(0), true
}

// responses reads an operation's Responses Object.
func (c *documentCompiler) responses(op *operation, n node) error {
	all := n.at("responses")
	if all.v != nil && all.object() == nil {
		return all.errorf("must be an object")
	}
	op.responses = &responses{operation: op.id, byStatus: map[string]*response{}}
	for _, status := range slices.Sorted(maps.Keys(all.object())) {
		if strings.HasPrefix(status, "x-") {
			continue
		}
		key := strings.ToUpper(status)
		if status == "default" {
			key = status
		} else if !isStatus(key) {
			return all.at(status).errorf("want a status such as 200, 2XX or default, got %q", status)
		}
		rn, err := all.at(status).resolve()
		if err != nil {
			return err
		}
		if op.responses.byStatus[key], err = c.response(rn); err != nil {
			return err
		}
	}
	return nil
}

// isStatus accepts 100 to 599, and 1XX to 5XX.
func isStatus(s string) bool {
	if len(s) != 3 || s[0] < '1' || s[0] > '5' {
		return false
	}
	_, err := strconv.Atoi(s)
	return err == nil || s[1:] == "XX"
}

func (c *documentCompiler) response(n node) (*response, error) {
	r := new(response)
	var err error
	if r.headers, err = c.headers(n.at("headers"), c.answers); err != nil {
		return nil, err
	}
	content := n.at("content")
	if content.v != nil && content.object() == nil {
		return nil, content.errorf("must be an object")
	}
	for _, media := range slices.Sorted(maps.Keys(content.object())) {
		t := &responseType{bodyType: bodyType{media: mediaRange(media)}}
		r.types = append(r.types, t)
		c.responseSchema(t, content.at(media).at("schema"))
	}
	slices.SortStableFunc(r.types, func(a, b *responseType) int {
		return strings.Count(a.media, "*") - strings.Count(b.media, "*")
	})
	return r, nil
}

// mediaRange is a key of a Content Object without parameters such as charset.
func mediaRange(key string) string {
	media, _, _ := strings.Cut(key, ";")
	return strings.ToLower(strings.TrimSpace(media))
}

// responseSchema has a schema compiled if bodies of its type can be checked.
func (c *documentCompiler) responseSchema(t *responseType, schema node) {
	if schema.v == nil || !isJSONType(t.media) && !strings.Contains(t.media, "*") {
		return
	}
	c.answers.need(schema.ptr)
	c.bind = append(c.bind, func() error {
		s, err := c.answers.schema(schema.ptr)
		if err != nil {
			return fmt.Errorf("in a response: %w", err)
		}
		t.rule = c.rules.rule(s)
		return nil
	})
}
