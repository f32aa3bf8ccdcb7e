package test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// upstreamEnv makes this test's program an upstream on the address given
// instead of running tests, so that an upstream can be killed or stopped.
const upstreamEnv = "FAIRWAY_TEST_UPSTREAM"

func init() {
	if addr := os.Getenv(upstreamEnv); addr != "" {
		serveUpstream(addr)
		os.Exit(1)
	}
}

// behaviour is how an upstream answers. Its zero value answers 200 at once.
type behaviour struct {
	Bad    float64       // share of the answers that are Status
	Status int           // of the bad ones
	Slow   float64       // share of the answers that take Delay longer
	Delay  time.Duration // of the slow ones
	Took   time.Duration // every answer takes this long
	MaxAge int           // seconds for which an answer may be cached; 0: not at all
}

const (
	behavePath = "/-/behave" // takes a behaviour
	askedPath  = "/-/asked"  // answers how often the upstream was asked
)

func serveUpstream(addr string) {
	var now atomic.Pointer[behaviour]
	var asked atomic.Int64
	now.Store(new(behaviour))
	mux := http.NewServeMux()
	mux.HandleFunc(behavePath, func(_ http.ResponseWriter, r *http.Request) {
		b := new(behaviour)
		if err := json.NewDecoder(r.Body).Decode(b); err == nil {
			now.Store(b)
		}
	})
	mux.HandleFunc(askedPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, asked.Load()) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		now.Load().answer(w)
	})
	fmt.Fprintln(os.Stderr, http.ListenAndServe(addr, mux))
}

func (b *behaviour) answer(w http.ResponseWriter) {
	time.Sleep(b.Took)
	if rand.Float64() < b.Slow {
		time.Sleep(b.Delay)
	}
	w.Header().Set("Cache-Control", "no-store")
	if b.MaxAge > 0 {
		w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(b.MaxAge))
	}
	if rand.Float64() < b.Bad {
		w.WriteHeader(b.Status)
	}
	fmt.Fprint(w, "fine")
}

// upstream is a process of its own that answers as it is told.
type upstream struct {
	*process.Process
	t    testing.TB
	addr string
}

func startUpstream(t testing.TB, b behaviour) *upstream {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{t: t, addr: process.FreeAddr()}
	_, port, _ := strings.Cut(u.addr, ":")
	u.Process = start(t, process.Spec{
		Name: "upstream-" + port, Path: self, Dir: t.TempDir(), Env: []string{upstreamEnv + "=" + u.addr},
	}, process.TCPReady(u.addr))
	u.behave(b)
	return u
}

func startUpstreams(t testing.TB, n int, b behaviour) (us []*upstream) {
	t.Helper()
	for range n {
		us = append(us, startUpstream(t, b))
	}
	return us
}

func (u *upstream) behave(b behaviour) {
	u.t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		u.t.Fatal(err)
	}
	post("http://"+u.addr+behavePath, string(text)).send(u.t).want(u.t, http.StatusOK)
}

// asked is how often the upstream was asked so far.
func (u *upstream) asked() int {
	u.t.Helper()
	n, err := strconv.Atoi(get("http://"+u.addr+askedPath).send(u.t).want(u.t, http.StatusOK).body)
	if err != nil {
		u.t.Fatal(err)
	}
	return n
}

func askedOf(us []*upstream) (sum int) {
	for _, u := range us {
		sum += u.asked()
	}
	return sum
}

func addresses(us []*upstream) (list string) {
	for _, u := range us {
		list += " " + u.addr
	}
	return list
}
