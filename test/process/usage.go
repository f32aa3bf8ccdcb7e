package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100
// on every architecture that Go runs Linux on.
const clockTick = time.Second / 100

// CPU is the processor time, user and system, that the program and all its
// descendants have used, as the operating system counts it (Linux only).
// Children that ended and were waited for are included.
func (p *Process) CPU() (time.Duration, error) {
	stats, err := readStats()
	if err != nil {
		return 0, err
	}
	if _, ok := stats[p.Pid()]; !ok {
		return 0, fmt.Errorf("%s has ended", p.spec.Name)
	}
	var ticks int64
	for pid, s := range stats {
		if descends(stats, pid, p.Pid()) {
			ticks += s.ticks
		}
	}
	return time.Duration(ticks) * clockTick, nil
}

// PeakRSS is the largest resident memory of the program so far in bytes,
// without its children (Linux only).
func (p *Process) PeakRSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		return kib << 10, err
	}
	return 0, fmt.Errorf("no VmHWM line in the status of %s", p.spec.Name)
}

// stat is what we read of one line of /proc/PID/stat.
type stat struct {
	parent int
	ticks  int64
}

func readStats() (map[int]stat, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no process times under /proc (Linux only): %w", err)
	}
	stats := make(map[int]stat, len(paths))
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		pid, s, err := parseStat(b)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		stats[pid] = s
	}
	return stats, nil
}

// parseStat reads "PID (NAME) STATE PPID …". The name may hold spaces and
// parentheses, so the fields are counted from the last parenthesis; see proc(5).
func parseStat(b []byte) (int, stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 1 || end < open {
		return 0, stat{}, fmt.Errorf("unknown form %q", b)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	if err != nil {
		return 0, stat{}, err
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 15 {
		return 0, stat{}, fmt.Errorf("only %d fields", len(fields))
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0, stat{}, err
	}
	s := stat{parent: parent}
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, stat{}, err
		}
		s.ticks += n
	}
	return pid, s, nil
}

func descends(stats map[int]stat, pid, root int) bool {
	for range len(stats) {
		if pid == root {
			return true
		}
		s, ok := stats[pid]
		if !ok {
			return false
		}
		pid = s.parent
	}
	return false
}
