//go:build amd64 || arm64

package ratelimit

import "unsafe"

// prefetchForWrite tells the processor that p's cache line will be written soon,
// and does not wait for it. Go offers no such call outside of its runtime.
//
//go:noescape
func prefetchForWrite(p unsafe.Pointer)
