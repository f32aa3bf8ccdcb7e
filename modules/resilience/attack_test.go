package resilience

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// An upstream may ask to be left alone for ten years, or for less than no time:
// neither keeps a client waiting.
func TestAttack_RetryAfterOfTenYears(t *testing.T) {
	var asked atomic.Pointer[string]
	o := newOrigin(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", *asked.Load())
		w.WriteHeader(503)
	})
	p := startProxy(t, site("breaker off\nretry 1 on 503 min 100 {\nbackoff 1ms 2ms\n}", o))
	for value, want := range map[string]int64{
		"315360000":                     1,
		"99999999999999999999":          1,
		"Fri, 31 Dec 9999 23:59:59 GMT": 1,
		"-315360000":                    2,
		"Thu, 01 Jan 1970 00:00:00 GMT": 2,
		"ten years":                     2,
	} {
		before := o.hits.Load()
		asked.Store(&value)
		a := p.get("/")
		if hits := o.hits.Load() - before; a.status != 503 || hits != want {
			t.Errorf("Retry-After %q: %d after %d tries, want 503 after %d", value, a.status, hits, want)
		}
	}
	wantNothingHeld(t, o.addr)
}

// A body beyond the buffer, or of unknown length, is sent once and never held.
func TestAttack_HugeBodiesAreSentOnce(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if n != 8<<20 {
			t.Errorf("the upstream got %d bytes", n)
		}
		w.WriteHeader(503)
	})
	p := startProxy(t, site("breaker off\nretry 3 on 503 reset {\nbackoff 1ms 2ms\nmethods POST\nbuffer 64KiB\n}", o, newOrigin(t, nil)))
	body := make([]byte, 8<<20)
	for name, reader := range map[string]io.Reader{
		"of known length": bytes.NewReader(body),
		"in chunks":       io.MultiReader(bytes.NewReader(body)),
	} {
		before := o.hits.Load()
		res, err := http.Post("http://"+p.addr, "application/octet-stream", reader)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if hits := o.hits.Load() - before; res.StatusCode != 503 || hits != 1 {
			t.Errorf("a body of 8 MiB %s: %d after %d tries, want 503 after one", name, res.StatusCode, hits)
		}
	}
	wantNothingHeld(t, o.addr)
}

// A storm of clients that leave their event streams holds nothing.
func TestAttack_ClientsThatLeaveTheirEventStreams(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	p := startProxy(t, "resilience {\nbulkhead 300\ntimeout 30s\n}\n"+site("breaker 1 failures open 1m\nbulkhead 300\nretry 2\nhedge 1h", o))
	parallel(200, func() {
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr, nil)
		if err != nil {
			t.Error(err)
			return
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		if _, err := io.ReadFull(res.Body, make([]byte, 13)); err != nil {
			t.Errorf("an event did not come: %v", err)
		}
	})
	wantNothingHeld(t, o.addr)
	if s := state(t, "default", o.addr).breaker.State(); s != Closed {
		t.Errorf("clients that left their streams made the breaker %s", s)
	}
}

// An upstream that hangs in the middle of an event stream is given up after
// idle_timeout, and has failed.
func TestAttack_EventStreamsThatHang(t *testing.T) {
	o := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "data: first\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	p := startProxy(t, site("breaker 1 failures open 1m\nidle_timeout 1s", o))
	if a, err := p.try(http.MethodGet, "/", ""); err == nil {
		t.Errorf("a stream that hangs passed for a whole one: %q", a.body)
	}
	wantNothingHeld(t, o.addr)
	if f := state(t, "default", o.addr).breaker.Facts(time.Now()); f.State != "open" {
		t.Errorf("a stream that hangs is a failure: %+v", f)
	}
}
