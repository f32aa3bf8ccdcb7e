package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A server that stalls neither delays the load nor hides its stall.
func TestDrive_DoesNotWaitForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running, most atomic.Int64
		begun := time.Now()
		all := drive(t.Context(), Phase{"stall", 2 * time.Second, 50}, func(context.Context, kind) sent {
			most.Store(max(most.Load(), running.Add(1)))
			defer running.Add(-1)
			time.Sleep(3 * time.Second)
			return sent{status: 201}
		})
		if len(all) != 100 || most.Load() != 100 {
			t.Errorf("%d requests, %d of them at once, want 100 and 100", len(all), most.Load())
		}
		if took := time.Since(begun); took != 4980*time.Millisecond {
			t.Errorf("the phase took %s, want 4.98s", took)
		}
	})
}

func TestDrive_SevenOfTenCreate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := drive(t.Context(), Phase{"mix", 100 * time.Second, 100}, func(context.Context, kind) sent { return sent{status: 200} })
		if n := summarize(all, create, 200).n; len(all) != 10_000 || n < 6700 || n > 7300 {
			t.Errorf("%d of %d requests create, want 7000 of 10000", n, len(all))
		}
	})
}

func TestSummarize_OnlyTheWantedStatusIsGood(t *testing.T) {
	s := summarize([]sent{
		{kind: create, status: 201, took: time.Second},
		{kind: create, status: 200},
		{kind: create, status: 503},
		{kind: create, status: 503, retry: true},
		{kind: create, err: errors.New("reset")},
		{kind: create, status: 201, err: errors.New("the body broke off")},
		{kind: read, status: 201},
	}, create, 201)
	if s.n != 6 || s.good != 1 || s.busy != 1 || s.bad != 4 || s.first == nil || s.p99 != time.Second {
		t.Errorf("summarize() = %+v, want 1 good, 1 busy and 4 bad of 6", s)
	}
}
