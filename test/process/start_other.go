//go:build !linux

package process

import (
	"errors"
	"os/exec"
	"syscall"
)

func start(cmd *exec.Cmd, s Spec) error {
	if len(s.Cores) > 0 {
		return errors.New("pinning to processor cores works on Linux only")
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.Credential}
	return cmd.Start()
}

// Cores lists the processor cores that this process may use: none are known.
func Cores() []int { return nil }
