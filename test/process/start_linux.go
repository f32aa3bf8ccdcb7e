package process

import (
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// starter is the one thread that forks. It lives as long as this process,
// because Linux sends Pdeathsig when the forking thread dies; and it can be
// pinned for the moment of a fork, because a child inherits its thread's cores.
var starter = sync.OnceValue(func() chan<- func() {
	calls := make(chan func())
	go func() {
		runtime.LockOSThread()
		for call := range calls {
			call()
		}
	}()
	return calls
})

func start(cmd *exec.Cmd, s Spec) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// Its own group: Ctrl-C in a terminal reaches us alone.
		Setpgid:    true,
		Pdeathsig:  syscall.SIGKILL,
		Credential: s.Credential,
	}
	result := make(chan error, 1)
	starter() <- func() { result <- startPinned(cmd, s.Cores) }
	return <-result
}

func startPinned(cmd *exec.Cmd, cores []int) error {
	if len(cores) == 0 {
		return cmd.Start()
	}
	var before, pinned unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("reading the processor cores: %w", err)
	}
	for _, core := range cores {
		pinned.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &pinned); err != nil {
		return fmt.Errorf("pinning to processor cores %v: %w", cores, err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &before) }()
	return cmd.Start()
}

// Cores lists the processor cores that this process may use.
func Cores() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil
	}
	var cores []int
	for core := 0; len(cores) < set.Count(); core++ {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores
}
