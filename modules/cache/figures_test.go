package cache

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/modules/gateway/redistest"
	"github.com/fairway-gateway/fairway/test/process"
)

// figure prints one line: what was measured beside its target.
func figure(b *testing.B, what, measured, target string) {
	b.Helper()
	b.Logf("%-58s %14s   target %s", what, measured, target)
}

// scale is n, or a little with -short.
func scale(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}

// fillStore stores n small responses with the same tag, or none, and returns the
// bytes of their bodies, keys and headers.
func fillStore(s *Store, n int, tags ...string) (payload int) {
	rules := Rules{MaxBody: 1 << 20}
	q := NewRequest("GET", http.Header{}, false)
	now := time.Now()
	for i := range n {
		res := Response{Status: 200, Answered: now.UnixMilli(), Header: http.Header{
			"Cache-Control": {"max-age=100000000"}, "Content-Type": {"text/plain"}, "Content-Length": {"10"},
			"Date": {now.UTC().Format(http.TimeFormat)}, "Etag": {fmt.Sprintf(`"%d"`, i)},
		}}
		e, _ := rules.Admit(&q, &res)
		key := fmt.Appendf(nil, "bench\nsrv0\nhttp:api.example/items/%d", i)
		p := newPlace(key, len("bench\nsrv0\nhttp:"), len(key))
		label(e, &p, tags)
		e.seq = s.purges.Seq()
		e = e.withBody([]byte("0123456789"))
		payload += len(e.key) + len(e.head) + len(e.body)
		s.put(&p, e, 64)
	}
	s.memory.otter.CleanUp()
	return payload
}

// BenchmarkFigure_EntryMemory: what an entry costs beyond its body, key and
// header bytes.
func BenchmarkFigure_EntryMemory(b *testing.B) {
	n := scale(1_000_000, 50_000)
	s := newStore(4 << 30)
	defer func() { _ = s.Destruct() }()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	payload := fillStore(s, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := s.memory.otter.EstimatedSize(); got != n {
		b.Errorf("%d entries are stored, want %d", got, n)
	}
	beyond := (float64(after.HeapAlloc) - float64(before.HeapAlloc) - float64(payload)) / float64(n)
	b.ReportMetric(beyond, "B/entry")
	figure(b, fmt.Sprintf("heap per entry beyond its bytes, %d entries", n), fmt.Sprintf("%.0f B", beyond), "<= 400 B")
	figure(b, "what max_size counts for it", fmt.Sprintf("%.0f B", float64(s.memory.otter.WeightedSize())/float64(n)-float64(payload)/float64(n)), "about the same")
	runtime.KeepAlive(s)
}

// BenchmarkFigure_FirstByte: how long after the origin sent the first byte of a
// slow response the client has it.
func BenchmarkFigure_FirstByte(b *testing.B) {
	slow := 2 * time.Second
	if testing.Short() {
		slow = 200 * time.Millisecond
	}
	var sent time.Time
	s := newSite(b, "", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=60")
		sent = time.Now()
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(slow)
		_, err := io.WriteString(w, " last")
		return err
	})
	res, err := http.Get(s.URL)
	if err != nil {
		b.Fatal(err)
	}
	defer res.Body.Close()
	body := bufio.NewReader(res.Body)
	if _, err := body.ReadByte(); err != nil {
		b.Fatal(err)
	}
	first := time.Since(sent)
	if _, err := io.Copy(io.Discard, body); err != nil {
		b.Fatal(err)
	}
	wantText(b, s.get("/"), "first last")
	s.wantAsked(1)
	b.ReportMetric(float64(first.Microseconds()), "us/first-byte")
	figure(b, fmt.Sprintf("first byte of a miss that takes %s", slow), first.Round(time.Microsecond).String(), "when the origin sends it")
}

// BenchmarkFigure_PurgeTag: what it costs to purge a tag that many entries have,
// and how long until another node obeys. Both nodes are in this process, so the
// processor time is that of both and of the Redis client.
func BenchmarkFigure_PurgeTag(b *testing.B) {
	n := scale(1_000_000, 20_000)
	server := redistest.Start(b)
	origin := func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "t")
		_, err := io.WriteString(w, "body")
		return err
	}
	one, two := node(b, server, 1, origin), node(b, server, 2, origin)
	// each node has heard the other, so that no resync of theirs is counted
	for _, pair := range [][2]*site{{one, two}, {two, one}} {
		seq := pair[1].h.store.purges.Seq()
		eventually(b, "the nodes hear each other", func() bool {
			pair[0].h.purge(Purge{Kind: kindTag, Target: tagTarget("", "hello")})
			return pair[1].h.store.purges.Seq() > seq+1
		})
	}
	time.Sleep(200 * time.Millisecond) // the last of these arrive
	fillStore(one.h.store, n, "t")
	purge := newPart(one.h, one.app)
	tag := json.RawMessage(`{"tag":"t"}`)
	act := func() {
		if _, err := purge.Act(context.Background(), "purge", tag); err != nil {
			b.Fatal(err)
		}
	}
	var seen time.Duration
	for range 20 {
		two.get("/x")
		seq, asked, start := two.h.store.purges.Seq(), two.asked.Load(), time.Now()
		act()
		for two.h.store.purges.Seq() == seq && time.Since(start) < 5*time.Second {
			time.Sleep(100 * time.Microsecond)
		}
		seen = max(seen, time.Since(start))
		if two.get("/x"); two.asked.Load() != asked+1 {
			b.Errorf("the other node still answers with what was purged")
		}
	}
	const rounds = 1000
	calls := make([]time.Duration, rounds)
	known, before := two.h.store.purges.Seq(), process.SelfCPU()
	for i := range calls {
		start := time.Now()
		act()
		calls[i] = time.Since(start)
	}
	for end := time.Now().Add(30 * time.Second); two.h.store.purges.Seq() < known+rounds; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("the other node heard of %d purges, want %d", two.h.store.purges.Seq()-known, rounds)
		}
	}
	used := (process.SelfCPU() - before) / rounds
	slices.Sort(calls)
	alive := 0
	for e := range one.h.store.memory.otter.Values() {
		if gone, _ := one.h.store.purges.State(e); !gone {
			alive++
		}
	}
	if alive > 0 {
		b.Errorf("%d of %d entries outlived the purge of their tag", alive, n)
	}
	b.ReportMetric(float64(calls[rounds/2].Nanoseconds())/1000, "us/purge")
	figure(b, fmt.Sprintf("purge of a tag that %d entries have: median call", n), calls[rounds/2].String(), "< 1ms")
	figure(b, "  processor time per purge, of both nodes", used.String(), "< 1ms")
	figure(b, "  until the second node obeys, the longest of 20", seen.Round(time.Microsecond).String(), "< 100ms")
}

// BenchmarkFigure_Collapse: how many of many simultaneous requests for one cold
// URL reach the origin.
func BenchmarkFigure_Collapse(b *testing.B) {
	n := scale(1000, 100)
	s := newSite(b, "", func(w http.ResponseWriter, _ *http.Request) error {
		time.Sleep(300 * time.Millisecond)
		w.Header().Set("Cache-Control", "max-age=60")
		_, err := io.WriteString(w, "body")
		return err
	})
	for _, a := range s.together("/", make([][]string, n)...) {
		wantText(b, a, "body")
	}
	s.wantAsked(1)
	b.ReportMetric(float64(s.asked.Load()), "origin-requests")
	figure(b, fmt.Sprintf("%d simultaneous requests for one cold URL", n), fmt.Sprintf("%d asked", s.asked.Load()), "1 asked")
}
