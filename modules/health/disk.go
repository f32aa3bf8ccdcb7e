package health

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// defaultMinFree is how much of a disk must be free unless the config says.
const defaultMinFree = "5%"

// diskCheck asks whether there is room on the file system of a path.
type diskCheck struct {
	path    string
	bytes   uint64 // that must be free, or
	percent float64
	space   func(path string) (free, total uint64, err error)
}

func newDiskCheck(path, minFree string) (*diskCheck, error) {
	d := &diskCheck{path: path, space: diskSpace}
	if minFree == "" {
		minFree = defaultMinFree
	}
	if text, ok := strings.CutSuffix(minFree, "%"); ok {
		p, err := strconv.ParseFloat(text, 64)
		if err != nil || !(p > 0 && p < 100) {
			return nil, fmt.Errorf("min_free %q: want a size such as 1GiB or a part such as 5%%", minFree)
		}
		d.percent = p
		return d, nil
	}
	n, err := humanize.ParseBytes(minFree)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("min_free %q: want a size such as 1GiB or a part such as 5%%", minFree)
	}
	d.bytes = n
	return d, nil
}

func (d *diskCheck) ask(context.Context) error {
	free, total, err := d.space(d.path)
	if err != nil {
		return &failure{"unreadable", err}
	}
	want := d.bytes
	if d.percent > 0 {
		want = uint64(float64(total) * d.percent / 100)
	}
	if free < want {
		return &failure{"full", fmt.Errorf("%s: %s free, want %s", d.path, humanize.IBytes(free), humanize.IBytes(want))}
	}
	return nil
}

// failure is an error with a word for those who may see details.
type failure struct {
	word string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) Unwrap() error { return f.err }
