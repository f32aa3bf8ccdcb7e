package ratelimit

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// leased returns accounts with a lease of 10 whose slot has a minute left.
func leased(t *testing.T) (*accounts, *ask, instant) {
	t.Helper()
	c := newAccounts(newMemory(defaultSlots, false))
	a := testAsk(testSet(t, defaultSlots, false, "100/12m"), "k", 1)
	sent := instant{mono: 1000 * second, wall: 5000 * second}
	s := c.begin(a, leasing{share: 1}, banRule{}, sent, arrived)
	if s.call == nil {
		t.Fatal("the first request asks nobody")
	}
	if d, known := c.finish(s.call, &reply{granted: 10, slotLeft: 60 * second}, sent); !known || !d.ok {
		t.Fatal("not admitted")
	}
	return c, a, sent
}

// Whichever of a node's clocks is wrong, a lease is not spent after its slot.
func TestLease_EndsWithItsSlot(t *testing.T) {
	for _, tc := range []struct {
		name       string
		mono, wall int64 // since the call, µs
		good       bool
	}{
		{"early in the slot", 1, 1, true},
		{"late in the slot", 59 * second, 59 * second, true},
		{"at the end, by clocks that are slow by 0.05%", 60*second - 30_000, 60*second - 30_000, false},
		{"the machine slept: only the wall clock knows", second, 60 * second, false},
		{"the wall clock was set back", 60 * second, -1000 * second, false},
	} {
		c, a, sent := leased(t)
		s := c.begin(a, leasing{share: 1}, banRule{}, instant{sent.mono + tc.mono, sent.wall + tc.wall}, arrived)
		if spent := s.call == nil && s.decision.ok; spent != tc.good {
			t.Errorf("%s: spent = %t, want %t", tc.name, spent, tc.good)
		}
	}
}

// A call that outlasts the slot brings a lease of the next one; what is left of
// the earlier must not be spent with it.
func TestLease_RestOfAnEarlierSlotIsNotSpent(t *testing.T) {
	c, a, sent := leased(t)
	large := *a
	large.cost = 20
	s := c.begin(&large, leasing{share: 1}, banRule{}, sent, arrived)
	if s.call == nil {
		t.Fatal("20 were spent of a lease of 9")
	}
	d, known := c.finish(s.call, &reply{granted: 20, slotLeft: 60 * second, slots: [maxPolicies]int64{1}}, sent)
	if !known || !d.ok || d.remaining != 0 {
		t.Fatalf("after 20 more were granted: %+v, want admitted and nothing left", d)
	}
	if s = c.begin(a, leasing{share: 1}, banRule{}, sent, arrived); s.call == nil || len(s.call.refunds) != 1 || s.call.refunds[0].amount != 9 {
		t.Errorf("the next request: %+v, want a call that refunds the 9 of the earlier slot", s)
	}
}

// What is left of a lease goes back to Redis, once.
func TestLease_RestIsRefunded(t *testing.T) {
	c, _, sent := leased(t)
	after := instant{sent.mono + 61*second, sent.wall + 61*second}
	calls := c.due(banRule{}, after, 10)
	if len(calls) != 1 || len(calls[0].refunds) != 1 || calls[0].refunds[0].amount != 9 || calls[0].seq < sent.wall {
		t.Fatalf("due: %+v, want one call that refunds 9", calls)
	}
	c.finish(calls[0], nil, after) // lost: it may have been applied
	again := c.due(banRule{}, after, 10)
	if len(again) != 1 || again[0].seq != calls[0].seq || !again[0].again || again[0].refunds[0].amount != 9 {
		t.Fatalf("after a lost reply: %+v, want the same batch under the same number", again)
	}
	c.finish(again[0], &reply{}, after)
	if more := c.due(banRule{}, after, 10); len(more) != 0 {
		t.Errorf("after it was acknowledged: %+v", more)
	}
}

// What is owed since a batch was sent waits until that batch is acknowledged.
func TestLease_OneBatchAtATime(t *testing.T) {
	c, a, sent := leased(t)
	after := instant{sent.mono + 61*second, sent.wall + 61*second}
	first := c.due(banRule{}, after, 10)[0]
	c.finish(first, nil, after)
	c.refund(a, &decision{issue: &issue{slots: [maxPolicies]int64{7}}}, after)
	again := c.due(banRule{}, after, 10)
	if len(again) != 1 || again[0].seq != first.seq || len(again[0].refunds) != 1 || again[0].refunds[0].amount != 9 {
		t.Fatalf("with one more owed: %+v, want the unacknowledged batch as it was", again)
	}
	c.finish(again[0], &reply{}, after)
	s := c.begin(a, leasing{share: 1}, banRule{}, after, arrived)
	if s.call == nil || s.call.seq <= first.seq || len(s.call.refunds) != 1 || s.call.refunds[0].amount != 1 {
		t.Errorf("after the acknowledgement: %+v, want a new batch that refunds 1", s.call)
	}
}

// An event that is refunded late goes back to the slot it was charged to, and
// not into a lease of another.
func TestLease_LateRefundIsExact(t *testing.T) {
	c, a, sent := leased(t)
	spent := c.begin(a, leasing{share: 1}, banRule{}, sent, arrived).decision
	after := instant{sent.mono + 61*second, sent.wall + 61*second}
	s := c.begin(a, leasing{share: 1}, banRule{}, after, arrived)
	if s.call == nil || s.call.refunds[0].amount != 8 {
		t.Fatalf("in the next slot: %+v, want a call that refunds 8", s)
	}
	c.finish(s.call, &reply{granted: 2, slotLeft: 60 * second, slots: [maxPolicies]int64{1}}, after)
	c.refund(a, &spent, after)
	if d := c.begin(a, leasing{share: 1}, banRule{}, after, arrived).decision; !d.ok {
		t.Fatalf("the second event of the new lease: %+v", d)
	}
	s = c.begin(a, leasing{share: 1}, banRule{}, after, arrived)
	if s.call == nil || len(s.call.refunds) != 1 || s.call.refunds[0].amount != 1 || s.call.refunds[0].issue != spent.issue {
		t.Errorf("the third: %+v, want a call that refunds exactly 1 to the old slot", s)
	}
}

// While Redis is down, keys that somebody makes up leave nothing behind but
// accounts within the bound.
func TestAccounts_FloodWithoutRedisIsBounded(t *testing.T) {
	l := localLimiter()
	l.backend = deadBackend{}
	set := testSet(t, defaultSlots, false, "5/15m")
	for i := range 200_000 {
		a := testAsk(set, string(rune('a'+i%26))+string(rune(i)), 1)
		a.bounds = bounds{keys: 1 << 14, evict: true}
		l.decided(a)
	}
	listed := 0
	for i := range l.accounts.shards {
		listed += len(l.accounts.shards[i].dirty)
	}
	if size := l.accounts.size(); size > 1<<14 || listed > size {
		t.Errorf("%d accounts, %d listed as owing, bound %d", size, listed, 1<<14)
	}
}

// deadBackend never answers.
type deadBackend struct{}

func (deadBackend) charge(context.Context, *call) (*reply, error) { return nil, errLost }

// tardyBackend answers so late that the slot is over, so many times.
type tardyBackend struct{ late, calls int }

func (b *tardyBackend) charge(_ context.Context, c *call) (*reply, error) {
	if b.calls++; b.calls <= b.late {
		return &reply{granted: c.want}, nil
	}
	return &reply{granted: c.want, slotLeft: 60 * second}, nil
}

// A request is not refused because replies came late for a moment, and does not
// ask for ever if all come late.
func TestLimiter_LateReplies(t *testing.T) {
	for _, tc := range []struct {
		name    string
		late    int
		timeout time.Duration
		admit   bool
	}{
		{"for a moment", 7, time.Minute, true},
		{"always", 1 << 60, time.Millisecond, false},
	} {
		l := localLimiter()
		l.backend, l.timeout, l.outage = &tardyBackend{late: tc.late}, tc.timeout, outageDeny
		if d := l.decided(testAsk(testSet(t, defaultSlots, false, "5/1s"), "k", 1)); d.ok != tc.admit {
			t.Errorf("late %s: admitted = %t, want %t", tc.name, d.ok, tc.admit)
		}
	}
}

// crawlingBackend takes 2 ms for a call whose reply is always too late.
type crawlingBackend struct{ calls atomic.Int32 }

func (b *crawlingBackend) charge(_ context.Context, c *call) (*reply, error) {
	b.calls.Add(1)
	time.Sleep(2 * time.Millisecond)
	return &reply{granted: c.want}, nil
}

// Requests that wait for each other's replies, all of which are late, give up
// together and not one after the other.
func TestLimiter_LateRepliesForMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, backend := time.Now(), new(crawlingBackend)
		l := localLimiter()
		l.mono = func() int64 { return time.Since(start).Microseconds() }
		l.clock = func() instant { return instant{mono: l.mono(), wall: l.mono()} }
		l.backend, l.timeout, l.outage = backend, 10*time.Millisecond, outageDeny
		set := testSet(t, defaultSlots, false, "500/1s")
		var requests sync.WaitGroup
		for range 100 {
			requests.Go(func() {
				if l.decided(testAsk(set, "k", 1)).ok {
					t.Error("admitted by a reply that came too late")
				}
			})
		}
		requests.Wait()
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("the last request was decided after %s and %d calls, want at most 50 ms", took, backend.calls.Load())
		}
	})
}
