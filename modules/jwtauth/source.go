package jwtauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// maxDocument bounds key sets and discovery documents in bytes.
const maxDocument = 1 << 20

// source is where a key set comes from. Only its refresher calls fetch.
type source interface {
	fetch(ctx context.Context) (document, error)
	forget()        // the last document was no good: do not call the next one unchanged
	String() string // for people: URL or path
}

// document is what a source has to say.
type document struct {
	body      []byte
	unchanged bool          // the same as last time; body is empty
	lifetime  time.Duration // how long it may be kept; negative: not said
}

// fileSource reads a key set from disk.
type fileSource struct {
	path string
	last string
}

func (f *fileSource) String() string { return f.path }

func (f *fileSource) forget() { f.last = "" }

func (f *fileSource) fetch(context.Context) (document, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return document{}, err
	}
	defer file.Close()
	body, err := readDocument(file)
	if err != nil {
		return document{}, fmt.Errorf("reading %q: %w", f.path, err)
	}
	unchanged := f.last != "" && f.last == string(body) // an emptied file is no news that is good
	f.last = string(body)
	return document{body: body, unchanged: unchanged, lifetime: -1}, nil
}

func readDocument(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(b) > maxDocument {
		err = fmt.Errorf("larger than %d bytes", maxDocument)
	}
	return b, err
}

// urlSource fetches a key set from a fixed URL.
type urlSource struct {
	url    string
	client *http.Client
	etag   string
}

func (u *urlSource) String() string { return withoutQuery(u.url) }

func (u *urlSource) forget() { u.etag = "" }

func (u *urlSource) fetch(ctx context.Context) (document, error) {
	doc, etag, err := get(ctx, u.client, u.url, u.etag)
	if err == nil {
		u.etag = etag
	}
	return doc, err
}

// discoverySource finds the key set through the issuer's metadata (OpenID
// Connect Discovery 1.0, 4; RFC 8414, 3). The metadata is read on every refresh:
// a provider may move its keys.
type discoverySource struct {
	issuer string
	url    string // of the metadata
	client *http.Client
	keys   urlSource
}

func (d *discoverySource) String() string { return withoutQuery(d.url) }

func (d *discoverySource) forget() { d.keys.forget() }

func (d *discoverySource) fetch(ctx context.Context) (document, error) {
	metadata, _, err := get(ctx, d.client, d.url, "")
	if err != nil {
		return document{}, err
	}
	members, err := decodeObject(metadata.body)
	if err != nil {
		return document{}, fmt.Errorf("metadata at %q: %w", d, err)
	}
	if members["issuer"] != d.issuer { // OpenID Connect Discovery 1.0, 4.3
		return document{}, fmt.Errorf("metadata at %q is of another issuer than %q", d, d.issuer)
	}
	keys, _ := members["jwks_uri"].(string)
	if err := checkURL(keys); err != nil {
		return document{}, fmt.Errorf("metadata at %q: jwks_uri: %w", d, err)
	}
	if d.keys.url != keys {
		d.keys = urlSource{url: keys, client: d.client}
	}
	return d.keys.fetch(ctx)
}

// discoveryURL is where an issuer publishes its metadata.
func discoveryURL(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

// checkURL accepts https, and http to this machine. Its errors, which end in logs,
// name the URL without what may be secret in it.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("%q is not a URL", s)
	}
	shown := withoutQuery(s)
	switch {
	case u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%q is not an absolute URL", shown)
	case u.User != nil:
		return fmt.Errorf("%q has user information, which is not supported", shown)
	case u.Fragment != "":
		return fmt.Errorf("%q has a fragment", shown)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return fmt.Errorf("%q must be https (http only to loopback)", shown)
	}
}

// withoutQuery is a URL as operators may see it: the query may hold a secret.
func withoutQuery(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(malformed URL)"
	}
	u.RawQuery = ""
	return u.Redacted()
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

var errRedirect = errors.New("redirects are not followed")

// newClient makes the HTTP client of one key set. roots may be nil: those of the
// system.
func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           2,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
	}
}

// get fetches a JSON document of bounded size. An etag makes the request
// conditional.
func get(ctx context.Context, client *http.Client, address, etag string) (document, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return document{}, "", err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", "Fairway")
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, whose query may hold a secret
		}
		return document{}, "", fmt.Errorf("GET %q: %w", withoutQuery(address), err)
	}
	defer resp.Body.Close()
	doc := document{lifetime: lifetime(resp.Header)}
	switch {
	case resp.StatusCode == http.StatusNotModified && etag != "":
		doc.unchanged = true
		return doc, etag, nil
	case resp.StatusCode != http.StatusOK:
		return document{}, "", fmt.Errorf("GET %q: status %d", withoutQuery(address), resp.StatusCode)
	}
	if doc.body, err = readDocument(resp.Body); err != nil {
		return document{}, "", fmt.Errorf("GET %q: %w", withoutQuery(address), err)
	}
	return doc, resp.Header.Get("ETag"), nil
}

// lifetime is what Cache-Control and Age leave (RFC 9111, 4.2); negative if the
// server does not say.
func lifetime(h http.Header) time.Duration {
	const notSaid = -1
	for directive := range strings.SplitSeq(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
		switch name {
		case "no-store", "no-cache":
			return 0
		case "max-age":
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return notSaid
			}
			age, _ := strconv.ParseUint(h.Get("Age"), 10, 31)
			return time.Duration(seconds-min(age, seconds)) * time.Second
		}
	}
	return notSaid
}
