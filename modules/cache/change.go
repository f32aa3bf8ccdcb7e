package cache

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// watcher is the response writer for requests that do not go through the cache.
// It sees the head go by.
type watcher struct {
	*caddyhttp.ResponseWriterWrapper
	onHead func(status int)
	seen   bool
}

func (w *watcher) WriteHeader(status int) {
	if !w.seen && (status < 100 || status > 199 || status == http.StatusSwitchingProtocols) {
		w.seen = true
		w.onHead(status)
	}
	w.ResponseWriterWrapper.WriteHeader(status)
}

func (w *watcher) Write(p []byte) (int, error) {
	if !w.seen {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriterWrapper.Write(p)
}

// Flush is for handlers that do not look for an http.ResponseController.
func (w *watcher) Flush() {
	if !w.seen {
		w.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// FlushError sends what was written so far.
func (w *watcher) FlushError() error {
	if !w.seen {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// bypass sends a request past the cache.
func (h *Handler) bypass(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, why Why) error {
	noteOutcome(r, outBypass)
	return next.ServeHTTP(h.watch(w, why, nil), r)
}

func (h *Handler) watch(w http.ResponseWriter, why Why, onHead func(status int)) *watcher {
	return &watcher{ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w}, onHead: func(status int) {
		header := w.Header()
		if onHead != nil {
			onHead(status)
		}
		delete(header, ownField)
		header["Cache-Status"] = append(header["Cache-Status"], h.name+"; fwd="+why.String())
	}}
}

// change sends a request that may change something to the origin, and forgets
// what it changed before the client learns that it did. RFC 9111, 4.4.
func (h *Handler) change(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	noteOutcome(r, outBypass)
	x := h.newExchange(w, r, next)
	uri := x.p.uri()
	if r.Method == http.MethodPost && h.caches(r.Method) && !isGRPC(r.Header) {
		return h.post(x, uri)
	}
	x.release()
	return next.ServeHTTP(h.watch(w, WhyMethod, func(status int) {
		if status >= 200 && status < 400 {
			h.purge(h.concerned(uri, r, w.Header())...)
		}
	}), r)
}

func isGRPC(h http.Header) bool {
	return strings.HasPrefix(first(h["Content-Type"]), "application/grpc")
}

// post sends a POST request. Its response answers later GET requests if it says
// that it is the representation of the same URI and for how long. RFC 9110,
// 9.3.3.
func (h *Handler) post(x *exchange, uri string) error {
	f := x.newFill(nil, Verdict{Action: Fetch, Why: WhyMethod}, nil)
	f.onHead = func(status int) bool {
		if status < 200 || status >= 400 {
			return false
		}
		concerned := h.concerned(uri, x.r, f.header)
		if f.entry == nil {
			h.purge(concerned...)
			return false
		}
		self, ok := h.sameOrigin(first(f.header["Content-Location"]), x.r)
		unharmed := h.store.purges.Supersede(f.entry, concerned)
		h.tell(concerned...)
		return status == http.StatusOK && ok && self == uri && unharmed
	}
	return f.send()
}

// concerned returns the purges of what a successful unsafe request concerns.
func (h *Handler) concerned(uri string, r *http.Request, header http.Header) []Purge {
	list := []Purge{{Kind: kindURL, Target: uri}}
	for _, name := range [...]string{"Location", "Content-Location"} {
		if target, ok := h.sameOrigin(first(header[name]), r); ok && target != uri {
			list = append(list, Purge{Kind: kindURL, Target: target})
		}
	}
	// RFC 9875, 3: only in responses to unsafe requests
	host, _, _ := strings.Cut(uri, "/")
	for _, group := range groups(header["Cache-Group-Invalidation"]) {
		list = append(list, Purge{Kind: kindTag, Target: tagTarget(host, group)})
	}
	return list
}

// sameOrigin resolves a reference against the request's URI and returns its
// form in keys, if it has the same origin. RFC 9111, 4.4.
func (h *Handler) sameOrigin(ref string, r *http.Request) (string, bool) {
	if ref == "" {
		return "", false
	}
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	path, query := r.URL.EscapedPath(), r.URL.RawQuery
	if orig, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && orig.URL != nil {
		path, query = orig.URL.EscapedPath(), orig.URL.RawQuery
	}
	base, err := url.Parse(scheme + "://" + r.Host + path + "?" + query)
	if err != nil {
		return "", false
	}
	target, err := base.Parse(ref)
	if err != nil || target.Scheme != scheme || !strings.EqualFold(target.Host, r.Host) {
		return "", false
	}
	return string(h.keys.appendURI(nil, &Target{Host: target.Host, Path: target.EscapedPath(), RawQuery: target.RawQuery})), true
}

func unescapeQuery(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
