package validate

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/fairway-gateway/fairway/modules/gateway"
)

// source answers which operation a request is.
type source struct {
	file        *document // for a file
	remote      *remote   // for a URL
	key         string    // of remote in the pool
	passMissing bool
	passUnknown bool

	passAmbiguous bool
}

// found is the answer: an operation, or a refusal, or neither, which means that
// the request passes unchecked for the reason in outcome.
type found struct {
	op      *operation
	item    *pathItem
	values  []string
	outcome string
	refused *refusal
}

func (s *source) find(w http.ResponseWriter, r *http.Request) found {
	doc := s.file
	if s.remote != nil {
		doc = s.remote.document(r.Context())
	}
	if doc == nil {
		return s.missing(w)
	}
	path := r.URL.EscapedPath()
	item, values := doc.router.find(path)
	op := item.operation(r.Method)
	switch {
	case item == nil && !s.passUnknown:
		return unknown(http.StatusNotFound, "Not found", "not_found", fmt.Errorf("path %q is not in the document", r.URL.Path))
	case op == nil && !s.passUnknown:
		w.Header().Set("Allow", item.allow())
		return unknown(http.StatusMethodNotAllowed, "Method not allowed", "method_not_allowed",
			fmt.Errorf("method %s of path %q is not in the document", r.Method, r.URL.Path))
	}
	if !s.passAmbiguous {
		if field := doc.disguised(path, r.Method, item); field != "" {
			return found{refused: invalid("malformed", Issue{Field: field, Message: "could be read as another: it must be written as the API describes it"})}
		}
	}
	switch {
	case op == nil:
		return found{outcome: "unknown"}
	case op.skip:
		return found{outcome: "skipped"}
	}
	return found{op: op, item: item, values: values}
}

func (s *source) missing(w http.ResponseWriter) found {
	if s.passMissing {
		return found{outcome: "no_document"}
	}
	w.Header().Set("Retry-After", "1")
	return found{refused: &refusal{
		status: http.StatusServiceUnavailable, code: "Service unavailable", outcome: "unavailable",
		err: fmt.Errorf("there is no openapi document from %s yet", s.remote.url),
	}}
}

func unknown(status int, code, outcome string, err error) found {
	return found{refused: &refusal{status: status, code: code, outcome: outcome, err: err}}
}

func (s *source) release() error {
	if s.remote == nil {
		return nil
	}
	_, err := remotes.Delete(s.key)
	return err
}

// openSource finds the document of the config.
func (h *Handler) openSource(ctx caddy.Context) error {
	o := h.OpenAPI
	if err := o.checkOptions(); err != nil {
		return err
	}
	name, err := caddy.NewReplacer().ReplaceOrErr(o.Document, true, true)
	if err != nil {
		return err
	}
	opts := documentOptions{
		limits: h.Limits.withDefaults(), strip: h.StripUnknown, defaults: h.FillDefaults,
		base: o.BasePath, skip: slices.Sorted(slices.Values(o.Skip)), answers: o.Responses != "",
	}
	s := &source{passMissing: o.OnMissing == "pass", passUnknown: o.OnUnknown != "refuse", passAmbiguous: o.OnAmbiguous == "pass"}
	if isURL(name) {
		err = s.openRemote(ctx, name, o, opts)
	} else {
		err = s.openFile(ctx, name, o, opts)
	}
	if s.remote != nil || err == nil {
		h.shadow = o.newShadow(ctx)
		h.source = s // what was taken is given back even if something failed
	}
	return err
}

// newShadow returns what checks responses, nil if nothing does.
func (o *OpenAPI) newShadow(ctx caddy.Context) *shadow {
	if o.Responses == "" {
		return nil
	}
	return &shadow{max: cmp.Or(o.MaxResponse, DefaultMaxResponse), log: ctx.Logger()}
}

func (s *source) openRemote(ctx caddy.Context, name string, o *OpenAPI, opts documentOptions) error {
	if u, err := url.Parse(name); err != nil || u.Host == "" || u.User != nil {
		return errors.New("want http://host/path or https://host/path, without a password")
	}
	app, err := gateway.From(ctx)
	if err != nil {
		return err
	}
	refresh := time.Duration(o.Refresh)
	if refresh == 0 {
		refresh = DefaultRefresh
	}
	if s.remote, s.key, err = openRemote(name, refresh, opts); err != nil {
		return err
	}
	return registerRemote(app, s.remote)
}

func (s *source) openFile(ctx caddy.Context, name string, o *OpenAPI, opts documentOptions) error {
	if o.Refresh != 0 || o.OnMissing != "" {
		return errors.New("refresh and on_missing go with a URL only")
	}
	doc, err := loadDocument(name, opts)
	if err != nil {
		return err
	}
	if len(doc.unchecked) > 0 {
		ctx.Logger().Warn("openapi document asks for what is not checked",
			zap.String("file", name), zap.Strings("at", doc.unchecked))
	}
	s.file = doc
	return nil
}

func (o *OpenAPI) checkOptions() error {
	if o.Document == "" {
		return errors.New("want a file or a URL")
	}
	for option, value := range map[string]string{"on_missing": o.OnMissing, "on_unknown": o.OnUnknown, "on_ambiguous": o.OnAmbiguous} {
		if value != "" && value != "refuse" && value != "pass" {
			return fmt.Errorf("%s: want refuse or pass, got %q", option, value)
		}
	}
	if o.Responses != "" && o.Responses != "shadow" {
		return fmt.Errorf("responses: want shadow, got %q", o.Responses)
	}
	if o.MaxResponse < 0 || o.MaxResponse > maxCopies {
		return fmt.Errorf("max_response must be between 1 and %d bytes, got %d", maxCopies, o.MaxResponse)
	}
	if o.MaxResponse != 0 && o.Responses == "" {
		return fmt.Errorf("max_response %d goes with responses shadow only", o.MaxResponse)
	}
	if o.Refresh < 0 || o.Refresh > 0 && time.Duration(o.Refresh) < time.Second {
		return fmt.Errorf("refresh must be at least 1s, got %s", time.Duration(o.Refresh))
	}
	if o.BasePath != "" && !strings.HasPrefix(o.BasePath, "/") {
		return fmt.Errorf("base_path must begin with /, got %q", o.BasePath)
	}
	return nil
}

func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}
