package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is a whole run, as the JSON file has it.
type report struct {
	Machine   machine  `json:"machine"`
	Options   options  `json:"options"`
	Scenarios []result `json:"scenarios"`
}

// machine says where the figures come from.
type machine struct {
	When      time.Time `json:"when"`
	Processor string    `json:"processor"`
	Cores     int       `json:"cores"`
	System    string    `json:"system"`
	Go        string    `json:"go"`
	Commit    string    `json:"commit"`
	Fairway   string    `json:"fairway"`
	Caddy     string    `json:"caddy"`
	Pinned    bool      `json:"pinned"`
}

// result is one scenario's rows.
type result struct {
	Name     string `json:"name"`
	Question string `json:"question"`
	Baseline string `json:"baseline"`
	Rows     []row  `json:"rows"`
}

// row is one contender: medians over its samples.
type row struct {
	Name      string        `json:"name"`
	CPU       time.Duration `json:"cpu_per_request_ns"`
	Ratio     float64       `json:"cpu_ratio_to_baseline"`
	Spread    float64       `json:"cpu_spread"` // (largest - smallest) / median
	PerSecond float64       `json:"requests_per_second"`
	P50       time.Duration `json:"p50_ns"`
	P99       time.Duration `json:"p99_ns"`
	PeakBytes int64         `json:"peak_rss_bytes"`
	Samples   []Sample      `json:"samples"`
	Error     string        `json:"error,omitempty"` // then nothing else is set

	err error
}

// summarize reduces the series of each contender to medians and ratios.
func summarize(s Scenario, all []series) result {
	r := result{Name: s.Name, Question: s.Question, Baseline: s.Baseline}
	var baseline time.Duration
	for i, c := range s.Contenders {
		row := newRow(c.Name, all[i])
		if c.Name == s.Baseline {
			baseline = row.CPU
		}
		r.Rows = append(r.Rows, row)
	}
	for i := range r.Rows {
		if baseline > 0 {
			r.Rows[i].Ratio = float64(r.Rows[i].CPU) / float64(baseline)
		}
	}
	return r
}

func newRow(name string, s series) row {
	if s.err != nil {
		return row{Name: name, Error: s.err.Error(), err: s.err}
	}
	var cpu, p50, p99 []time.Duration
	var rate []float64
	var peak []int64
	for _, x := range s.samples {
		cpu = append(cpu, x.cpuPerRequest())
		p50 = append(p50, x.P50)
		p99 = append(p99, x.P99)
		rate = append(rate, x.perSecond())
		peak = append(peak, x.PeakBytes)
	}
	r := row{
		Name: name, Samples: s.samples,
		CPU: median(cpu), P50: median(p50), P99: median(p99), PerSecond: median(rate), PeakBytes: median(peak),
	}
	if r.CPU > 0 {
		r.Spread = float64(slices.Max(cpu)-slices.Min(cpu)) / float64(r.CPU)
	}
	return r
}

// median returns the middle of values, the mean of the two middle ones if their
// number is even. It sorts values.
func median[T int64 | float64 | time.Duration](values []T) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	mid := len(values) / 2
	if len(values)%2 == 1 {
		return values[mid]
	}
	return (values[mid-1] + values[mid]) / 2
}

var columns = []string{"", "CPU µs/request", "ratio", "spread", "requests/s", "p50 ms", "p99 ms", "peak MiB"}

func (r row) cells() []string {
	if r.err != nil {
		return []string{r.Name, "failed", "", "", "", "", "", ""}
	}
	ratio := "-"
	if r.Ratio > 0 {
		ratio = fmt.Sprintf("%.2f", r.Ratio)
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
	return []string{
		r.Name,
		fmt.Sprintf("%.1f", float64(r.CPU)/float64(time.Microsecond)),
		ratio,
		fmt.Sprintf("%.0f%%", 100*r.Spread),
		fmt.Sprintf("%.0f", r.PerSecond),
		ms(r.P50), ms(r.P99),
		fmt.Sprintf("%.0f", float64(r.PeakBytes)/(1<<20)),
	}
}

// failures joins what went wrong in the whole run.
func (r report) failures() error {
	var all []error
	for _, s := range r.Scenarios {
		for _, row := range s.Rows {
			all = append(all, row.err)
		}
	}
	return errors.Join(all...)
}

// print writes a scenario's table for a terminal.
func (r result) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s (ratio to %s)\n", r.Name, r.Question, r.Baseline)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, strings.Join(columns, "\t")+"\t")
	for _, row := range r.Rows {
		fmt.Fprintln(tw, strings.Join(row.cells(), "\t")+"\t")
	}
	_ = tw.Flush()
}

// markdown is the same for all scenarios, with what a reader must know.
func (r report) markdown() []byte {
	var b bytes.Buffer
	m, o := r.Machine, r.Options
	fmt.Fprintf(&b, "# Benchmark of %s\n\n", m.When.Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%s, %d cores; %s; %s; commit %s.\n", m.Processor, m.Cores, m.System, m.Go, m.Commit)
	fmt.Fprintf(&b, "Fairway %s; Caddy without our modules: %s.\n\n", m.Fairway, m.Caddy)
	fmt.Fprintf(&b, "Medians of %d rounds of %s after %s of warm-up, %d connections of wrk, body %d bytes, access log off.\n",
		o.Rounds, o.Duration, o.Warmup, o.Connections, len(originBody))
	if m.Pinned {
		fmt.Fprint(&b, "The server has one core; load generator, origin and Redis have the others.\n")
	} else {
		fmt.Fprint(&b, "Nothing was pinned: this machine has one core. The figures cannot be compared.\n")
	}
	if o.Short {
		fmt.Fprint(&b, "\n**Short run: it shows that everything runs. The figures mean nothing.**\n")
	}
	for _, s := range r.Scenarios {
		fmt.Fprintf(&b, "\n## %s\n\n%s. Ratio: CPU to that of `%s`.\n\n", s.Name, s.Question, s.Baseline)
		fmt.Fprintf(&b, "| %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)-1))
		for _, row := range s.Rows {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(row.cells(), " | "))
		}
	}
	return b.Bytes()
}

// write puts the tables into dir, named by the time of the run.
func (r report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	asJSON, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	base := filepath.Join(dir, r.Machine.When.Format("20060102T150405"))
	for name, content := range map[string][]byte{base + ".json": asJSON, base + ".md": r.markdown()} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("\nwritten: %s.md and %[1]s.json\n", base)
	return nil
}

func describeMachine(ctx context.Context, l *lab) machine {
	return machine{
		When:      time.Now(),
		Processor: processorName(),
		Cores:     runtime.NumCPU(),
		System:    firstOf(ctx, "uname", "-sr"),
		Go:        runtime.Version(),
		Commit:    firstOf(ctx, "git", "describe", "--always", "--dirty"),
		Fairway:   firstOf(ctx, l.programs[Fairway], "version"),
		Caddy:     firstOf(ctx, l.programs[StockCaddy], "version"),
		Pinned:    len(l.serverCores) > 0,
	}
}

// firstOf is the first line a command prints, "unknown" if it fails.
func firstOf(ctx context.Context, name string, args ...string) string {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil || line == "" {
		return "unknown"
	}
	return line
}

func processorName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
