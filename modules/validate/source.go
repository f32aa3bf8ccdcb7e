package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/getkin/kin-openapi/openapi3"
	"go.uber.org/zap"
)

const (
	// DefaultRefresh is how often a document at a URL is asked for again.
	DefaultRefresh = time.Minute

	fetchTimeout = 10 * time.Second
	retryMin     = time.Second

	// firstWait is how long a request waits for a document that has never been
	// there, so that a gateway that has just started does not refuse at once.
	firstWait = time.Second
)

// loadDocument reads and compiles the document in a file. References may lead
// into other files, never to the network.
func loadDocument(file string, opts documentOptions) (*document, error) {
	data, err := readSmallFile(file)
	if err != nil {
		return nil, err
	}
	doc, err := readDocument(data)
	if err != nil {
		return nil, err
	}
	if leavesDocument(doc) {
		if doc, err = bundle(file); err != nil {
			return nil, err
		}
	}
	return compileDocument(doc, opts)
}

// leavesDocument tells whether a reference points into another document.
func leavesDocument(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !strings.HasPrefix(ref, "#") {
			return true
		}
		for _, member := range v {
			if leavesDocument(member) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if leavesDocument(item) {
				return true
			}
		}
	}
	return false
}

// bundle makes one document of a file and the files that it refers to.
func bundle(file string) (any, error) {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	loader := openapi3.NewLoader()
	loader.IsExternalRefsAllowed = true
	loader.ReadFromURIFunc = func(_ *openapi3.Loader, u *url.URL) ([]byte, error) {
		if u.Scheme != "" && u.Scheme != "file" || u.Host != "" {
			return nil, fmt.Errorf("a reference leads to the network: %q", u)
		}
		return readSmallFile(filepath.FromSlash(u.Path))
	}
	doc, err := loader.LoadFromFile(abs)
	if err != nil {
		return nil, err
	}
	doc.InternalizeRefs(context.Background(), nil)
	data, err := doc.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return readDocument(data)
}

// remotes keeps documents over reloads: a config that uses the same one goes on
// with what is known.
var remotes = caddy.NewUsagePool()

// remote is a document at a URL. It is fetched in the background; the last one
// that was good stays in use whatever happens to the URL. It is safe for
// concurrent use.
type remote struct {
	url     string
	opts    documentOptions
	refresh time.Duration
	client  *http.Client
	log     func() *zap.Logger

	current atomic.Pointer[document]
	first   chan struct{} // closed when the first attempt has ended
	cancel  context.CancelFunc
	done    chan struct{}

	fetching     sync.Mutex // held while fetching, and guards the next two
	etag         string
	lastModified string

	mu    sync.Mutex // guards state
	state remoteState
}

// remoteState is what an operator sees of a remote.
type remoteState struct {
	fetched time.Time // when the document in use was fetched or confirmed
	failed  error     // why the last attempt failed, nil if it did not
}

// openRemote takes the document of a URL out of the pool, or puts one in.
func openRemote(address string, refresh time.Duration, opts documentOptions) (*remote, string, error) {
	key := fmt.Sprintf("%s|%s|%+v", address, refresh, opts)
	v, _, err := remotes.LoadOrNew(key, func() (caddy.Destructor, error) {
		return newRemote(address, refresh, opts), nil
	})
	if err != nil {
		return nil, "", err
	}
	return v.(*remote), key, nil
}

func newRemote(address string, refresh time.Duration, opts documentOptions) *remote {
	ctx, cancel := context.WithCancel(context.Background())
	r := &remote{
		url: address, opts: opts, refresh: refresh,
		client: &http.Client{
			Timeout:       fetchTimeout,
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		log:    func() *zap.Logger { return caddy.Log().Named("fairway.validate") },
		first:  make(chan struct{}),
		done:   make(chan struct{}),
		cancel: cancel,
	}
	go r.run(ctx)
	return r
}

// Destruct stops the fetching. The UsagePool calls it.
func (r *remote) Destruct() error {
	r.cancel()
	<-r.done
	r.client.CloseIdleConnections()
	return nil
}

func (r *remote) run(ctx context.Context) {
	defer close(r.done)
	failures := 0
	for n := 0; ; n++ {
		failures++
		if err := r.fetch(ctx); err == nil {
			failures = 0
		}
		if n == 0 {
			close(r.first)
		}
		select {
		case <-time.After(r.pause(failures)):
		case <-ctx.Done():
			return
		}
	}
}

// pause is how long to wait before asking again after so many failures in a row.
func (r *remote) pause(failures int) time.Duration {
	const doublings = 16 // more would overflow in the end
	if failures == 0 {
		return r.refresh
	}
	return min(retryMin<<min(failures-1, doublings), r.refresh)
}

// document returns the document in use; nil if there has never been one.
func (r *remote) document(ctx context.Context) *document {
	if d := r.current.Load(); d != nil {
		return d
	}
	timer := time.NewTimer(firstWait)
	defer timer.Stop()
	select {
	case <-r.first:
	case <-timer.C:
	case <-ctx.Done():
	}
	return r.current.Load()
}

// fetch asks for the document once. A bad one changes nothing.
func (r *remote) fetch(ctx context.Context) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	fresh, err := r.download(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		refreshes.WithLabelValues("failed").Inc()
		if r.state.failed == nil {
			r.log().Warn("openapi document cannot be had", zap.String("url", r.url),
				zap.Bool("an_earlier_one_is_in_use", r.current.Load() != nil), zap.Error(err))
		}
	case fresh != nil:
		refreshes.WithLabelValues("changed").Inc()
		r.current.Store(fresh)
		r.log().Info("openapi document loaded", zap.String("url", r.url), zap.String("title", fresh.title),
			zap.String("version", fresh.version), zap.Int("operations", fresh.operations),
			zap.Strings("not_checked", fresh.unchecked))
	default:
		refreshes.WithLabelValues("unchanged").Inc()
	}
	r.state.failed = err
	if err == nil {
		r.state.fetched = time.Now()
	}
	return err
}

// download returns a new document, nil if it is the one in use.
func (r *remote) download(ctx context.Context) (*document, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "Fairway-Validate")
	req.Header.Set("Accept", "application/vnd.oai.openapi+json, application/json, application/yaml;q=0.9, */*;q=0.1")
	if r.current.Load() != nil {
		setIf(req.Header, "If-None-Match", r.etag)
		setIf(req.Header, "If-Modified-Since", r.lastModified)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		var uerr *url.Error
		if errors.As(err, &uerr) {
			err = uerr.Err
		}
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified && r.current.Load() != nil {
		return nil, nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %d", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxSchemaFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSchemaFile {
		return nil, fmt.Errorf("the document is larger than %d bytes", maxSchemaFile)
	}
	doc, err := readDocument(data)
	if err != nil {
		return nil, err
	}
	compiled, err := compileDocument(doc, r.opts)
	if err != nil {
		return nil, err
	}
	r.etag, r.lastModified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	return compiled, nil
}

func setIf(h http.Header, name, value string) {
	if value != "" {
		h.Set(name, value)
	}
}
