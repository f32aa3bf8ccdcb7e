package gateway

import (
	"math"
	"testing"
	"time"
)

func TestDoubled(t *testing.T) {
	for _, tc := range []struct {
		d     time.Duration
		times int
		limit time.Duration
		want  time.Duration
	}{
		{time.Second, 0, time.Minute, time.Second},
		{time.Second, 3, time.Minute, 8 * time.Second},
		{time.Second, 6, time.Minute, time.Minute},
		{time.Hour, 0, time.Minute, time.Minute},
		{3 * time.Hour, 40, 24 * time.Hour, 24 * time.Hour},
		{time.Hour, 1 << 40, math.MaxInt64, math.MaxInt64},
	} {
		if got := Doubled(tc.d, tc.times, tc.limit); got != tc.want {
			t.Errorf("%s doubled %d times, at most %s: %s, want %s", tc.d, tc.times, tc.limit, got, tc.want)
		}
	}
}
