// Command bench measures what a request costs, with each Fairway module on and
// off, next to Caddy without our modules and next to a bare Go loop, which is
// what this machine can do at all:
//
//	go run ./test/bench                     all scenarios, 3 rounds of 5 s each
//	go run ./test/bench -scenarios 'jwt|limit' -rounds 5
//	go run ./test/bench -short              only checks that everything runs
//	go run ./test/bench -list
//
// The figure to compare is the server's processor time per request, as the
// operating system counts it: it depends on other programs and on the load
// generator far less than requests per second do. The server is pinned to one
// core; the load generator (wrk), the origin and Redis to another. Every round
// starts every server anew, in turn, so that a slow minute of the machine hits
// all of them; the table shows medians over the rounds and the ratio to the
// scenario's baseline of the same run.
//
// An answer that a scenario does not expect fails the run: a fast wrong answer
// is no result. It needs Linux, wrk, and redis-server for what is marked redis.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	Rounds      int
	Duration    time.Duration // of one measurement
	Warmup      time.Duration // before each measurement
	Connections int
	Short       bool
	Scenarios   string
	Results     string // folder for the tables
	Fairway     string // the gateway to measure; built when empty
	Caddy       string // Caddy without our modules; built when empty
}

func main() {
	// The bench plays the origin and the bare loops itself; see loop.go.
	if len(os.Args) > 1 && os.Args[1] == loopCommand {
		exitOn(runLoop(os.Args[2:]))
		return
	}
	var o options
	flag.IntVar(&o.Rounds, "rounds", 3, "rounds; the table shows medians over them")
	flag.DurationVar(&o.Duration, "duration", 5*time.Second, "length of one measurement")
	flag.DurationVar(&o.Warmup, "warmup", 2*time.Second, "load before each measurement")
	flag.IntVar(&o.Connections, "connections", 64, "connections of the load generator")
	flag.BoolVar(&o.Short, "short", false, "one round of a quarter second: checks that everything runs, measures nothing")
	flag.StringVar(&o.Scenarios, "scenarios", "", "regular expression for the names of the scenarios to run (default all)")
	flag.StringVar(&o.Results, "results", "test/bench/results", "folder for the Markdown and JSON tables")
	flag.StringVar(&o.Fairway, "fairway", "", "gateway program to measure (default: built from ./cmd/fairway)")
	flag.StringVar(&o.Caddy, "caddy", "", "Caddy without our modules (default: built from the version in go.mod)")
	list := flag.Bool("list", false, "print the scenarios and end")
	flag.Parse()
	if flag.NArg() > 0 {
		exitOn(fmt.Errorf("unknown argument %q", flag.Arg(0)))
	}
	if *list {
		printScenarios(os.Stdout)
		return
	}
	if o.Short {
		o.Rounds, o.Duration, o.Warmup = 1, 250*time.Millisecond, 100*time.Millisecond
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	exitOn(run(ctx, o))
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures the chosen scenarios and writes the tables.
func run(ctx context.Context, o options) error {
	chosen, err := choose(scenarios(), o.Scenarios)
	if err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return errors.New("measuring needs Linux (/proc and pinning to cores)")
	}
	if o.Rounds < 1 || o.Connections < 1 || o.Duration < 100*time.Millisecond || o.Warmup < 0 {
		return errors.New("rounds, connections and durations must be positive (duration at least 100ms)")
	}
	dir, err := os.MkdirTemp("", "fairway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	l, err := newLab(ctx, o, dir, chosen)
	if err != nil {
		return err
	}
	defer l.close()
	results := report{Machine: describeMachine(ctx, l), Options: o}
	for _, s := range chosen {
		r, err := l.measure(ctx, s)
		if err != nil {
			return err
		}
		results.Scenarios = append(results.Scenarios, r)
		r.print(os.Stdout)
	}
	return errors.Join(results.write(o.Results), results.failures())
}

func choose(all []Scenario, pattern string) ([]Scenario, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-scenarios: %w", err)
	}
	var chosen []Scenario
	for _, s := range all {
		if re.MatchString(s.Name) {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no scenario is named like %q; -list shows all", pattern)
	}
	return chosen, nil
}
