//go:build !amd64 && !arm64

package ratelimit

import "unsafe"

// prefetchForWrite does nothing here: it is only ever a hint.
func prefetchForWrite(unsafe.Pointer) {}
