// Command build makes the gateway's binary: Caddy with the modules that
// xcaddy.toml lists, compiled by the xcaddy library.
//
//	go run ./cmd/build                  # what xcaddy.toml says: bin/fairway
//	go run ./cmd/build -o /tmp/gateway  # the same, elsewhere
//	go run ./cmd/build -f other.toml -v # another manifest, everything printed
//
// It needs the Go toolchain, and the module proxy once: later builds of the
// same versions need no network. A mistake in the manifest is one line that
// names the file, the line and the value, and exit code 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "build: %v\n", err)
		os.Exit(1)
	}
}

// options are the command line's.
type options struct {
	manifest string
	output   string
	verbose  bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseFlags(args, stderr)
	if err != nil {
		return err
	}
	m, err := readManifest(opts.manifest)
	if err != nil {
		return err
	}
	goCmd, err := findToolchain()
	if err != nil {
		return err
	}
	p, err := makePlan(ctx, m, goCmd)
	if err != nil {
		return err
	}
	if opts.output != "" {
		if p.output, err = filepath.Abs(opts.output); err != nil {
			return err
		}
	}
	return build(ctx, m, p, goCmd, opts.verbose, stdout)
}

func parseFlags(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("build", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&o.manifest, "f", "xcaddy.toml", "the manifest to build from")
	fs.StringVar(&o.output, "o", "", "the file to write, instead of the manifest's output")
	fs.BoolVar(&o.verbose, "v", false, "print all that xcaddy and the go command say")
	if err := fs.Parse(args); err != nil {
		return o, flag.ErrHelp // the flag package has printed why
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q: see go run ./cmd/build -h", fs.Arg(0))
	}
	return o, nil
}

// build runs xcaddy in a temporary folder of ours, so that nothing is left
// behind however it ends.
func build(ctx context.Context, m *manifest, p *plan, goCmd toolchain, verbose bool, out io.Writer) error {
	announce(m, p, out)
	temp, err := os.MkdirTemp("", "fairway-build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := prepare(ctx, p, goCmd, temp); err != nil {
		return err
	}
	start := time.Now()
	if err := compile(ctx, p, temp, verbose, out); err != nil {
		return fmt.Errorf("building %s from %s: %w", p.output, m.file, err)
	}
	info, err := os.Stat(p.output)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "build: wrote %s (%.1f MiB) in %.1f s\n", p.output, float64(info.Size())/(1<<20), time.Since(start).Seconds())
	return nil
}

// announce prints what will be built.
func announce(m *manifest, p *plan, out io.Writer) {
	fmt.Fprintf(out, "build: %s: fairway %s on caddy %s\n", m.file, p.version, m.Caddy)
	for _, mod := range m.Modules {
		from := mod.Version
		if mod.Local != "" {
			from = "from " + m.path(mod.Local)
		}
		fmt.Fprintf(out, "build: module %s %s\n", mod.Path, from)
	}
	for _, r := range m.Replacements {
		fmt.Fprintf(out, "build: replace %s by %s\n", r.Old, r.New)
	}
}

// prepare sets the environment that xcaddy's commands inherit.
func prepare(ctx context.Context, p *plan, goCmd toolchain, temp string) error {
	proxy, err := shadow(ctx, goCmd, filepath.Join(temp, "proxy"), p.local)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p.output), 0o755); err != nil {
		return err
	}
	return errors.Join(
		os.Setenv("GOPROXY", proxy),
		os.Setenv("GOWORK", "off"), // the temporary module is in nobody's workspace
		os.Setenv("TMPDIR", temp),
	)
}

func compile(ctx context.Context, p *plan, temp string, verbose bool, out io.Writer) error {
	if verbose {
		return p.builder.Build(ctx, p.output)
	}
	full, err := os.Create(filepath.Join(temp, "build.log"))
	if err != nil {
		return err
	}
	defer full.Close()
	restore := capture(out, full)
	err = p.builder.Build(ctx, p.output)
	restore()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case err != nil:
		fmt.Fprintln(out, lastCommand(full.Name()))
		return fmt.Errorf("the last command failed: %w", err)
	}
	return nil
}
