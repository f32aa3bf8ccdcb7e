package test

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// numbersDocument takes {"n": …} up to a maximum.
func numbersDocument(maximum int) string {
	return fmt.Sprintf(`{"openapi":"3.1.0","info":{"title":"numbers","version":"%d"},"paths":{"/n":{"post":{
		"requestBody":{"required":true,"content":{"application/json":{"schema":{"type":"object",
			"required":["n"],"properties":{"n":{"type":"integer","maximum":%d}}}}}},
		"responses":{"200":{"description":"ok"}}}}}}`, maximum, maximum)
}

const validateConfig = `
{
	admin {$FAIRWAY_ADMIN}
	grace_period 30s
	default_bind keep/{$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	header X-Config VERSION
	route {
		validate {
			openapi DOCUMENT
		}
		respond "passed"
	}
	handle_errors {
		problem
	}
}
`

func validateBy(document string, version int) string {
	return strings.NewReplacer("DOCUMENT", document, "VERSION", fmt.Sprint(version)).Replace(validateConfig)
}

// number is a request with {"n": n}.
func number(g *gateway, n int) request {
	return post(g.url+"/n", fmt.Sprintf(`{"n":%d}`, n)).with("Idempotency-Key", "x")
}

// numbersUnderLoad sends what every document takes and what none does, and fails
// the test if either is answered wrongly.
func numbersUnderLoad(t *testing.T, g *gateway) *traffic {
	return startTraffic(t, 3, func(worker, n int) request {
		if (worker+n)%2 == 0 {
			return number(g, 1)
		}
		return number(g, 1_000_000)
	}, func(a answer) error {
		want := http.StatusOK
		if strings.Contains(a.to.body, "1000000") {
			want = http.StatusBadRequest
		}
		return wantStatus(want)(a)
	})
}

// maximum fails the test unless the gateway takes numbers up to this one.
func maximum(g *gateway, n int) error {
	for _, c := range []struct{ n, status int }{{n, http.StatusOK}, {n + 1, http.StatusBadRequest}} {
		if err := tryStatus(number(g, c.n), c.status); err != nil {
			return fmt.Errorf("with maximum %d: %w", n, err)
		}
	}
	return nil
}

// Under load a changed document holds from the reload on, and one that is broken
// changes nothing: no request is answered by anything else.
func TestValidate_ReloadsUnderLoad(t *testing.T) {
	document := write(t, filepath.Join(t.TempDir(), "openapi.json"), numbersDocument(10))
	g := startGateway(t, validateBy(document, 0))
	load := numbersUnderLoad(t, g)
	for version := 1; version <= 6; version++ {
		load.flow(t, 30)
		write(t, document, numbersDocument(10*version))
		g.load(validateBy(document, version)).want(t, http.StatusOK)
		if err := maximum(g, 10*version); err != nil {
			t.Error(err)
		}
		for _, broken := range []string{
			strings.Replace(numbersDocument(1), `"integer"`, `"whole"`, 1),
			strings.Replace(numbersDocument(1), `"maximum":1}`, `"maximum":"1"}`, 1),
			numbersDocument(1)[:200], "", "[]",
		} {
			write(t, document, broken)
			if a := g.load(validateBy(document, -1)); a.status != http.StatusBadRequest {
				t.Errorf("a broken document: %s", a)
			}
			if err := maximum(g, 10*version); err != nil {
				t.Errorf("after a document that was refused: %v", err)
			}
		}
		number(g, 1).send(t).wantHeader(t, "X-Config", fmt.Sprint(version))
	}
	load.flow(t, 30)
	load.end(t)
}

// documentHost offers a document at a URL, as well or badly as a test says.
type documentHost struct {
	*httptest.Server
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64 // requests that began
}

func startDocumentHost(t *testing.T) *documentHost {
	d := new(documentHost)
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.asked.Add(1)
		(*d.answer.Load())(w, r)
	}))
	t.Cleanup(d.Close)
	t.Cleanup(d.CloseClientConnections)
	return d
}

func (d *documentHost) set(f http.HandlerFunc) { d.answer.Store(&f) }

func (d *documentHost) serve(status int, text string) {
	d.set(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

// await waits until the document has been asked for n more times.
func (d *documentHost) await(t *testing.T, n int64) {
	t.Helper()
	target := d.asked.Load() + n
	eventually(t, "requests for the document", func() error {
		if d.asked.Load() < target {
			return fmt.Errorf("%d to go", target-d.asked.Load())
		}
		return nil
	})
}

// Whatever becomes of the URL, the last good document holds: in a gateway that
// runs, over its reloads, and for the second one as soon as it has had it once.
func TestValidate_LastGoodDocumentOfAURL(t *testing.T) {
	host := startDocumentHost(t)
	host.serve(http.StatusOK, numbersDocument(10))
	config := func(version int) string {
		return validateBy(host.URL+" {\n\t\t\t\trefresh 1s\n\t\t\t}", version)
	}
	g := startGateway(t, config(0))
	eventually(t, "the document", func() error { return maximum(g, 10) })
	load := numbersUnderLoad(t, g)

	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	good := numbersDocument(10)
	for version, bad := range []http.HandlerFunc{
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>not this</html>") },
		func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, good[:300]) },
		func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(good, `"integer"`, `"whole"`, 1))
		},
		func(w http.ResponseWriter, _ *http.Request) { // breaks off
			w.Header().Set("Content-Length", "99999")
			_, _ = io.WriteString(w, good)
		},
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		func(w http.ResponseWriter, r *http.Request) { // hangs
			_, _ = io.WriteString(w, good[:100])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
	} {
		host.set(bad)
		host.await(t, 1)
		load.flow(t, 20)
		if err := maximum(g, 10); err != nil {
			t.Errorf("bad answer %d: %v", version, err)
		}
		g.load(config(version+1)).want(t, http.StatusOK)
		number(g, 1).send(t).wantHeader(t, "X-Config", fmt.Sprint(version+1))
		if err := maximum(g, 10); err != nil {
			t.Errorf("bad answer %d, after a reload: %v", version, err)
		}
	}

	// One that starts now has no document, says so, and gets it once it is there.
	second := startGateway(t, config(0))
	number(second, 1).send(t).want(t, http.StatusServiceUnavailable).wantHeader(t, "Retry-After", "1")
	host.serve(http.StatusOK, numbersDocument(500))
	for _, each := range []*gateway{g, second} {
		eventually(t, "the new document", func() error { return maximum(each, 500) })
	}
	host.Listener.Close() // and now it is gone
	host.CloseClientConnections()
	eventually(t, "the loss being known", func() error {
		if a := get(second.admin + "/fairway/openapi").send(t); !strings.Contains(a.body, `"error"`) {
			return fmt.Errorf("%s", a)
		}
		return nil
	})
	load.flow(t, 20)
	load.end(t)
	for _, each := range []*gateway{g, second} {
		if err := maximum(each, 500); err != nil {
			t.Error(err)
		}
	}
}

const shadowDocument = `
openapi: 3.1.0
info: {title: shadow, version: "1"}
paths:
  /{name}:
    get:
      operationId: read
      parameters: [{name: name, in: path, required: true, schema: {type: string}}]
      responses: {200: {description: ok, content: {application/json: {schema: {type: array, items: {type: integer}}}, text/event-stream: {}}}}
`

const shadowConfig = `
{
	admin {$FAIRWAY_ADMIN}
	default_bind keep/{$FAIRWAY_BIND}
}
{$FAIRWAY_LISTEN} {
	route {
		encode {
			gzip 6
			minimum_length 100
		}
		validate {
			openapi {$DOCUMENT} {
				responses shadow
				max_response 64KiB
			}
		}
		cache {
			max_size 1MiB
		}
		reverse_proxy {$ORIGIN}
	}
	handle_errors {
		problem
	}
}
`

// shadowed starts a gateway that compares what the origin answers.
func shadowed(t *testing.T, answer http.HandlerFunc) *gateway {
	o := httptest.NewServer(answer)
	t.Cleanup(o.Close)
	t.Cleanup(o.CloseClientConnections)
	t.Setenv("ORIGIN", strings.TrimPrefix(o.URL, "http://"))
	t.Setenv("DOCUMENT", write(t, filepath.Join(t.TempDir(), "shadow.yaml"), shadowDocument))
	return startGateway(t, shadowConfig)
}

// awaitAnswers waits until so many answers have been counted with an outcome.
func awaitAnswers(t *testing.T, g *gateway, outcome string, n int) {
	t.Helper()
	want := fmt.Sprintf("fairway_validate_responses_total{outcome=%q} %d\n", outcome, n)
	eventually(t, "answers being counted", func() error {
		if text := get(g.admin + "/metrics").send(t).body; !strings.Contains(text, want) {
			_, counts, _ := strings.Cut(text, "TYPE fairway_validate_responses_total")
			return fmt.Errorf("no %sin%.400s", want, counts)
		}
		return nil
	})
}

func unzip(t *testing.T, packed string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// With cache, encode and reverse_proxy in one route a wrong answer reaches the
// client as it is, fresh, stored and compressed; the metric and the log know.
func TestValidate_ShadowChangesNoByte(t *testing.T) {
	bodies := map[string]string{
		"valid": "[" + strings.Repeat("1, ", 300) + "1]", "wrong": "[" + strings.Repeat("1, ", 300) + `"secret-value"]`,
		"broken": `[1,` + strings.Repeat(" ", 300),
	}
	asked := atomic.Int64{}
	g := shadowed(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=600")
		_, _ = io.WriteString(w, bodies[r.URL.Path[1:]])
	})
	for round := range 3 { // one from the origin, two out of the cache
		for name, want := range bodies {
			if a := get(g.url+"/"+name).send(t).want(t, http.StatusOK); a.body != want {
				t.Errorf("%s, round %d: %d bytes, want %d", name, round, len(a.body), len(want))
			}
			a := get(g.url+"/"+name).with("Accept-Encoding", "gzip").send(t).wantHeader(t, "Content-Encoding", "gzip")
			if got := unzip(t, a.body); got != want {
				t.Errorf("%s, round %d, compressed: %d bytes, want %d", name, round, len(got), len(want))
			}
		}
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the origin was asked %d times, want once for each of 3", n)
	}
	awaitAnswers(t, g, "valid", 6)
	awaitAnswers(t, g, "invalid", 12)
	if log := g.Log(); !strings.Contains(log, "a response is not what the openapi document says") || strings.Contains(log, "secret-value") {
		t.Errorf("the log: %s", g.LogTail(20))
	}
}

// An event is with the client before the next is made, and an answer of any size
// goes by without being gathered.
func TestValidate_ShadowStreams(t *testing.T) {
	const size = 300 << 20
	seen := make(chan struct{})
	g := shadowed(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			w.Header().Set("Content-Type", "application/json")
			chunk := []byte(strings.Repeat(" ", 1<<20))
			for n := 0; n < size; n += len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-seen:
			case <-r.Context().Done():
				return
			}
		}
	})
	resp, err := client.Get(g.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 64)
	for n := range 5 {
		k, err := io.ReadAtLeast(resp.Body, buf, len("data: 0\n\n"))
		if want := fmt.Sprintf("data: %d\n\n", n); err != nil || string(buf[:k]) != want {
			t.Fatalf("%q, %v; want %q", buf[:k], err, want)
		}
		select {
		case seen <- struct{}{}:
		case <-time.After(patience):
			t.Fatal("the origin is gone")
		}
	}
	awaitAnswers(t, g, "skipped", 1)

	large, err := client.Get(g.url + "/large")
	if err != nil {
		t.Fatal(err)
	}
	defer large.Body.Close()
	if n, err := io.Copy(io.Discard, large.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v; want %d", n, err, size)
	}
	awaitAnswers(t, g, "too_large", 1)
	peak, err := g.PeakRSS()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("an answer of %d MiB went by with %d MiB", size>>20, peak>>20)
	if peak > size {
		t.Errorf("the gateway took %d MiB for an answer of %d MiB", peak>>20, size>>20)
	}
}
