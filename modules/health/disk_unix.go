//go:build linux || darwin || freebsd

package health

import "golang.org/x/sys/unix"

// diskSpace returns how many bytes of the file system of a path an ordinary user
// may still write, and how many it has.
func diskSpace(path string) (free, total uint64, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, 0, err
	}
	block := uint64(s.Bsize)
	return uint64(s.Bavail) * block, uint64(s.Blocks) * block, nil //nolint:unconvert // the types differ between systems
}
