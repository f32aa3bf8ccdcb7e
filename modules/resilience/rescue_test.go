package resilience

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is how many requests are at once on one upstream: far more than the budget's
// floor, few enough for a machine that is busy with other things.
const crowd = 250

// rescueSite sends everything to the first upstream while that is available.
func rescueSite(options string, us ...*origin) string {
	return site(options+"\nbreaker 5 failures open 1m\nretry 2", us...)
}

// wantAllFine makes the crowd's requests at once.
func wantAllFine(t *testing.T, p *proxy) {
	t.Helper()
	var bad atomic.Int64
	parallel(crowd, func() {
		if a, err := p.try(http.MethodGet, "/", ""); err != nil || a.status != 200 {
			if bad.Add(1) <= 3 {
				t.Log(a.status, a.body, err)
			}
		}
	})
	if n := bad.Load(); n > 0 {
		t.Errorf("%d of %d requests failed with the one upstream of three they were on", n, crowd)
	}
}

// What a hung upstream holds times out at once, in a gateway whose window has
// seen nothing else: neither the share nor the bound of those under way would do.
func TestRescue_AllThatAHungUpstreamHolds(t *testing.T) {
	hung, b, c := newOrigin(t, hang), newOrigin(t, nil), newOrigin(t, nil)
	p := startProxy(t, rescueSite("try_timeout 5s", hung, b, c))
	wantAllFine(t, p)
	if s := state(t, "default", hung.addr).breaker.State(); s != Open {
		t.Errorf("the hung upstream's breaker is %s", s)
	}
	if n := b.hits.Load() + c.hits.Load(); n != crowd {
		t.Errorf("the others were asked %d times for %d requests", n, crowd)
	}
}

// An upstream dies when it holds them all.
func TestRescue_AllThatADyingUpstreamHolds(t *testing.T) {
	dying, b, c := newOrigin(t, nil), newOrigin(t, nil), newOrigin(t, nil)
	var held atomic.Int64
	dying.set(func(w http.ResponseWriter, r *http.Request) {
		if held.Add(1) == crowd {
			go dying.kill()
		}
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	p := startProxy(t, rescueSite("try_timeout 30s", dying, b, c))
	wantAllFine(t, p)
	if n := b.hits.Load() + c.hits.Load(); n != crowd {
		t.Errorf("the others were asked %d times for %d requests", n, crowd)
	}
}

// Where every upstream fails, breakers open again and again: only one ejection
// in ten seconds may go beyond the share, and only by what was under way then.
func TestBudget_RescuesStayWithinTheShareInABrownOut(t *testing.T) {
	const inFlight = 50
	b := NewBudget(0.2, 1)
	now := time.Unix(1000, 0)
	var breakers [3]Breaker
	for i := range 30_000 {
		now = now.Add(time.Millisecond)
		b.First(now)
		b.Done(false)
		if b.Extra(now) { // an answer that may be tried again
			b.Done(true)
		}
		if i%1000 == 999 { // a breaker opens: all that is under way there fails
			from := ejection{&breakers[i/1000%3], uint64(i)}
			for range inFlight {
				if b.Rescue(from, now) {
					b.Done(true)
				}
			}
		}
		if first, extra := b.Facts(now); extra > max(10, first/5)+inFlight {
			t.Fatalf("after %d requests: %d extra tries for %d", i, extra, first)
		}
	}
	if first, extra := b.Facts(now); float64(extra) > 0.2*float64(first)+inFlight {
		t.Errorf("%d extra tries for %d", extra, first)
	}
}

func TestBudget_RescuesAreOneEjectionsAndPaidFor(t *testing.T) {
	b := NewBudget(0.2, 1)
	now := time.Unix(1000, 0)
	one, other := ejection{new(Breaker), 1}, ejection{new(Breaker), 1}
	for i := range crowd {
		if !b.Rescue(one, now) {
			t.Fatalf("rescue %d is refused", i+1)
		}
	}
	if b.Rescue(other, now.Add(9*time.Second)) {
		t.Error("a second ejection goes beyond the share in the same window")
	}
	for range crowd {
		b.Done(true)
	}
	if b.Extra(now) {
		t.Error("another extra try is granted before those are paid off")
	}
	if now = now.Add(11 * time.Second); !b.Extra(now) || !b.Rescue(other, now) {
		t.Error("nothing is granted in a new window")
	}
}

func TestBreaker_EjectedIsWhatWasUnderWay(t *testing.T) {
	now := time.Unix(1000, 0)
	b := NewBreaker(Rule{Failures: 1, Open: time.Second, Probes: 1}, now)
	before, _, _ := b.Acquire(now)
	if _, ok := b.ejected(before); ok {
		t.Error("a closed breaker has ejected its upstream")
	}
	b.Settle(before, Failure, 0, now)
	if _, ok := b.ejected(before); !ok {
		t.Error("a call that saw the breaker open is none of the ejected")
	}
	now = now.Add(time.Second)
	b.Acquire(now)
	if _, ok := b.ejected(before); ok {
		t.Error("a half-open breaker has ejected its upstream")
	}
}
