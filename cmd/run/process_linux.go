package main

import "syscall"

// processAttributes puts a child into a process group of its own, out of the
// terminal's reach, and has the kernel stop it should this process be killed.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
