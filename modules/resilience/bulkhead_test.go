package resilience

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBulkhead_WaitsInTurnAndGivesUp(t *testing.T) {
	b := NewBulkhead(1, 2, 50*time.Millisecond)
	ctx := context.Background()
	if err := b.Enter(ctx, Normal); err != nil {
		t.Fatal(err)
	}
	if err := b.Enter(ctx, Normal); !errors.Is(err, errWaited) {
		t.Errorf("Enter = %v, want %v", err, errWaited)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Enter(gone, Normal); !errors.Is(err, context.Canceled) {
		t.Errorf("Enter = %v, want %v", err, context.Canceled)
	}
	if taken, waiting, _ := b.Depth(); taken != 1 || waiting != 0 {
		t.Errorf("Depth = %d, %d, want 1, 0", taken, waiting)
	}
	b.Leave()
	if taken, _, _ := b.Depth(); taken != 0 {
		t.Errorf("%d places are taken after all have left", taken)
	}
}

func TestBulkhead_ServesByPriorityAndSendsTheLowestAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBulkhead(1, 3, time.Hour)
		if err := b.Enter(t.Context(), Low); err != nil {
			t.Fatal(err)
		}
		var order []string
		errs := map[string]error{}
		enter := func(name string, p Priority) {
			go func() {
				if errs[name] = b.Enter(t.Context(), p); errs[name] == nil {
					order = append(order, name)
					b.Leave()
				}
			}()
			synctest.Wait()
		}
		enter("low 1", Low)
		enter("low 2", Low)
		enter("normal 1", Normal)
		if b.Full(Normal) || !b.Full(Low) {
			t.Error("a full queue with low ones in it is full for low ones only")
		}
		enter("high", High)       // instead of low 2
		enter("normal 2", Normal) // instead of low 1
		enter("low 3", Low)
		enter("normal 3", Normal)
		for _, name := range []string{"low 1", "low 2", "low 3", "normal 3"} {
			if !errors.Is(errs[name], errFull) {
				t.Errorf("%s: %v, want it sent away", name, errs[name])
			}
		}
		b.Leave()
		synctest.Wait()
		if want := [...]string{"high", "normal 1", "normal 2"}; len(order) != 3 || [3]string(order) != want {
			t.Errorf("served in the order %v, want %v", order, want)
		}
		if taken, waiting, _ := b.Depth(); taken != 0 || waiting != 0 {
			t.Errorf("%d are inside and %d wait after all have left", taken, waiting)
		}
	})
}

func TestBulkhead_ResizeAdmitsThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBulkhead(1, 10, time.Hour)
		var inside atomic.Int64
		for range 5 {
			go func() {
				if b.Enter(t.Context(), Normal) == nil {
					inside.Add(1)
				}
			}()
			synctest.Wait()
		}
		b.Resize(3)
		synctest.Wait()
		if inside.Load() != 3 {
			t.Errorf("%d are inside, want 3", inside.Load())
		}
		b.Resize(1)
		b.Leave()
		b.Leave()
		synctest.Wait()
		if inside.Load() != 3 {
			t.Errorf("%d got in though the bulkhead has shrunk", inside.Load()-3)
		}
		b.Resize(5)
		synctest.Wait()
		if inside.Load() != 5 {
			t.Errorf("%d are inside in the end, want 5", inside.Load())
		}
	})
}
