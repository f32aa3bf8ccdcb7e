//go:build !linux

package main

import "syscall"

// processAttributes has nothing to ask for that all other systems know: there,
// Ctrl-C reaches the children directly, which stop on it just as well.
func processAttributes() *syscall.SysProcAttr { return nil }
