package gateway

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPercentFor(t *testing.T) {
	for _, tc := range []struct {
		live uint64
		want int
	}{
		{0, 100},
		{1 << 20, 800},   // 9 MiB, not 64: bounded
		{8 << 20, 700},   // 64 MiB
		{16 << 20, 300},  // 64 MiB
		{32 << 20, 100},  // 64 MiB
		{200 << 20, 100}, // as ever
		{1 << 40, 100},
	} {
		if got := percentFor(tc.live); got != tc.want {
			t.Errorf("%d bytes alive: %d %%, want %d", tc.live, got, tc.want)
		}
	}
}

// The floor is held in processes of their own, as it is for good.
func TestHoldHeapFloor(t *testing.T) {
	const child = "FAIRWAY_TEST_HEAP_FLOOR"
	switch os.Getenv(child) {
	case "held":
		wantHeapGoal(t, true)
		return
	case "left":
		wantHeapGoal(t, false)
		return
	}
	env := slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "GOGC=") })
	for _, with := range []string{child + "=held", child + "=left GOGC=100"} {
		c := exec.Command(os.Args[0], "-test.run=^TestHoldHeapFloor$")
		c.Env = append(slices.Clip(env), strings.Fields(with)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", with, err, out)
		}
	}
}

// wantHeapGoal wants the heap's next size at which it is collected to be the
// floor, or left alone.
func wantHeapGoal(t *testing.T, held bool) {
	alive := make([]byte, 16<<20)
	holdHeapFloor()
	var stats runtime.MemStats
	for range 200 { // finalizers run some time after a collection
		runtime.GC()
		runtime.ReadMemStats(&stats)
		if held && stats.NextGC > heapFloor*9/10 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	runtime.KeepAlive(alive)
	if got := stats.NextGC > heapFloor*9/10; got != held {
		t.Errorf("16 MiB are alive, the next collection is at %d MiB", stats.NextGC>>20)
	}
}
