package resilience

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestBudget_GrantsAShareOfTheWindow(t *testing.T) {
	b := NewBudget(0.2, 1)
	now := time.Unix(1000, 0)
	granted := 0
	for i := range 10_000 {
		now = now.Add(time.Millisecond)
		b.First(now)
		if b.Extra(now) {
			granted++
			b.Done(true)
		}
		b.Done(false)
		if first, extra := b.Facts(now); extra > max(10, first/5) {
			t.Fatalf("after %d requests: %d extra tries for %d", i, extra, first)
		}
	}
	if granted < 1990 || granted > 2000 {
		t.Errorf("%d extra tries for 10000 requests, want 2000", granted)
	}
	if now = now.Add(11 * time.Second); !b.Extra(now) {
		t.Error("a new window grants nothing")
	}
	if first, extra := b.Facts(now); first != 0 || extra != 1 {
		t.Errorf("an old window is not forgotten: %d, %d", first, extra)
	}
}

func TestBudget_HasAFloorPerSecond(t *testing.T) {
	b := NewBudget(0.2, 3)
	now := time.Unix(1000, 0)
	granted := 0
	for range 100 {
		if b.Extra(now) {
			granted++
			b.Done(true)
		}
	}
	if granted != 30 {
		t.Errorf("%d extra tries without a request in ten seconds, want 30", granted)
	}
}

func TestBudget_BoundsThoseUnderWay(t *testing.T) {
	b := NewBudget(1, 1000)
	now := time.Unix(1000, 0)
	granted := 0
	for range 1000 {
		if b.Extra(now) {
			granted++
		}
	}
	if granted != extraFloor {
		t.Errorf("%d extra tries at once, want %d", granted, extraFloor)
	}
	b.Done(true)
	if !b.Extra(now) {
		t.Error("a try that ended made no place")
	}
}

func TestLatencies_QuantileIsCloseFromAbove(t *testing.T) {
	var l Latencies
	now := time.Unix(1000, 0)
	if got := l.Quantile(0.95, now); got != 0 {
		t.Errorf("a quantile of nothing is %s, want 0", got)
	}
	for range 10_000 {
		l.Add(time.Duration(rand.IntN(100_000))*time.Microsecond, now)
	}
	now = now.Add(latencyRefresh)
	if got := l.Quantile(0.95, now); got < 94*time.Millisecond || got > 102*time.Millisecond {
		t.Errorf("p95 of 0 to 100ms is %s", got)
	}
	for range 2 { // both windows turn
		now = now.Add(latencyWindow)
		l.Add(time.Second, now)
	}
	if got := l.Quantile(0.95, now); got != 0 {
		t.Errorf("a quantile of two calls is %s, want 0: the others are too old", got)
	}
}

func TestLatencies_ClassesAreInOrderAndTight(t *testing.T) {
	last := -1
	for us := time.Duration(0); us < 1<<34; us += 1 + us/50 {
		d := us * time.Microsecond
		class := latencyClass(d)
		if class < last {
			t.Fatalf("%s is in class %d, less than before", d, class)
		}
		last = class
		if bound := latencyBound(class); bound <= d || float64(bound) > 1.07*float64(d)+float64(2*time.Microsecond) {
			t.Fatalf("%s is in the class up to %s", d, bound)
		}
	}
}
