//go:build unix

package process

import (
	"syscall"
	"time"
)

// SelfCPU is the processor time, user and system, that this process has used,
// without its children. What a busy machine does to the clock it does not do to
// that.
func SelfCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // only for a bad argument, getrusage(2)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
