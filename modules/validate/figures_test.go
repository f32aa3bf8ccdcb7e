package validate

import (
	"fmt"
	"testing"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// cpuOf returns the processor time, garbage collection included, of one of n
// calls.
func cpuOf(n int, f func()) time.Duration {
	before := process.SelfCPU()
	for range n {
		f()
	}
	return (process.SelfCPU() - before) / time.Duration(n)
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// A body of 1 KB against 30 fields, beside the library alone on the same parsed
// document and the standard library's decoder.
func BenchmarkFigure_ValidateBody(b *testing.B) {
	schema, valid, invalid := thirtyFields()
	s := mustSchema(b, schema)
	limits := Limits{}.withDefaults()
	v := newBodyValidator(s, newRuleBuilder(), limits, nil)
	n := 20_000
	if testing.Short() {
		n = 500
	}
	for _, c := range []struct {
		name   string
		body   string
		issues int
		target float64
	}{{"valid", valid, 0, 40}, {"invalid, 30 errors", invalid, 30, 60}} {
		body := []byte(c.body)
		ours := cpuOf(n, func() {
			if _, _, issues, _ := v.validate(body); len(issues) != c.issues {
				b.Error(issues)
			}
		})
		library := cpuOf(n, func() {
			doc, err := parse(body, limits)
			if err != nil {
				b.Error(err)
			}
			if issues := libraryIssues(s, doc, nil); len(issues) != c.issues {
				b.Error(issues)
			}
		})
		b.Logf("validate, %s body of %d bytes, 30 fields: %.1f µs of processor time; target ≤ %.0f µs; with the library alone %.1f µs",
			c.name, len(body), micros(ours), c.target, micros(library))
		b.ReportMetric(micros(ours), fmt.Sprintf("µs-%.7s", c.name))
	}
}

// Loading a document, and finding an operation in it. The sizes take turns, so
// that none has the machine for itself.
func BenchmarkFigure_OpenAPI(b *testing.B) {
	rounds, finds := 10, 50_000
	if testing.Short() {
		rounds, finds = 2, 1000
	}
	sizes := []int{10, 100, 500}
	documents := map[int]*document{}
	spent := map[int]time.Duration{}
	for _, n := range sizes {
		data := bigDocument(n)
		begun := time.Now()
		cpu := cpuOf(1, func() { documents[n] = loadBig(b, n) })
		goal := ""
		if n == 500 {
			goal = "; target ≤ 1 s"
			b.ReportMetric(cpu.Seconds(), "s-load")
		}
		b.Logf("OpenAPI document of %d operations, %d KiB: loaded in %.2f s, %.2f s of processor time%s",
			n, len(data)>>10, time.Since(begun).Seconds(), cpu.Seconds(), goal)
	}
	for range rounds {
		for _, n := range sizes {
			target := fmt.Sprintf("/group%d/resource%d/77/part", (n-1)%10, n-1)
			spent[n] += cpuOf(finds, func() {
				if item, _ := documents[n].router.find(target); item == nil {
					b.Error("not found")
				}
			})
		}
	}
	for _, n := range sizes {
		b.Logf("an operation among %d is found in %.2f µs; target: the same for all", n, micros(spent[n])/float64(rounds))
	}
}
