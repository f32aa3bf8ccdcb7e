package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// wanted is the status of a request that went well.
var wanted = map[kind]int{create: 201, read: 200}

// phases sends the mix and returns how many users it created.
func (s *stack) phases(ctx context.Context, o options) (created int, err error) {
	list := fullPhases
	if o.Short {
		list = shortPhases
	}
	fmt.Println("Mix of 70 % creations and 30 % reads through the gateway, at the test cost of passwords (--insecure-test-argon2)")
	fmt.Printf("%-10s %5s %7s %-7s %7s %7s %9s %9s %9s %9s\n", "phase", "rate", "seconds", "request", "sent", "errors", "p50", "p95", "p99", "max")
	var failed error
	bad := 0
	for _, p := range list {
		all := drive(ctx, p, s.send)
		for _, k := range []kind{create, read} {
			sum := summarize(all, k, wanted[k])
			errors := sum.bad + sum.busy
			bad += errors
			if failed == nil && errors > 0 {
				failed = fmt.Errorf("%s: %w", p.Name, firstOf(sum))
			}
			if k == create {
				created += sum.good
			}
			fmt.Printf("%-10s %5d %7.0f %-7s %7d %7d %9s %9s %9s %9s\n", p.Name, p.Rate, p.Duration.Seconds(), k, sum.n, errors,
				round(sum.p50), round(sum.p95), round(sum.p99), round(sum.max))
		}
		if ctx.Err() != nil {
			return created, ctx.Err()
		}
	}
	if failed != nil {
		return created, fmt.Errorf("%d requests failed, the first in %w", bad, failed)
	}
	return created, nil
}

func firstOf(s summary) error {
	if s.first != nil {
		return s.first
	}
	return fmt.Errorf("%d answered 503 with Retry-After", s.busy)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }

// audit looks whether those who were created are there, and got their mail.
func (s *stack) audit(ctx context.Context, created int) error {
	out, err := s.command(ctx, "export")
	if err != nil {
		return err
	}
	stored := bytes.Count(out, []byte("\n")) - 1 - users // less the head line and those without a mail
	if stored != created+s.made {
		return fmt.Errorf("%d users were answered 201, %d are stored", created, stored-s.made)
	}
	begun, mails := time.Now(), 0
	for ; mails < stored; time.Sleep(100 * time.Millisecond) {
		found, err := filepath.Glob(filepath.Join(s.dir, "data", "mail", "new", "*"))
		if err != nil {
			return err
		}
		mails = len(found)
		if time.Since(begun) > 5*patience || ctx.Err() != nil {
			return fmt.Errorf("%d users got %d mails", stored, mails)
		}
	}
	fmt.Printf("audit: %d users were answered 201, as many are stored; %d users, %d mails, the last %s after the load\n",
		created, stored, mails, time.Since(begun).Round(100*time.Millisecond))
	return nil
}

// production offers more creations than there is processor for.
func (s *stack) production(ctx context.Context, o options) error {
	if err := s.serve(ctx); err != nil {
		return err
	}
	p := Phase{"production", 30 * time.Second, 100}
	if o.Short {
		p.Duration = 4 * time.Second
	}
	begun := time.Now()
	all := drive(ctx, p, s.send)
	took := time.Since(begun)
	c, r := summarize(all, create, wanted[create]), summarize(all, read, wanted[read])
	fmt.Printf("\nThe same mix at %d/s for %.0f s at the production cost of passwords (argon2id m=19456 t=2 p=1)\n", p.Rate, p.Duration.Seconds())
	fmt.Printf("creations: %d offered, %d created (%.1f/s), %d answered 503 with Retry-After, %d errors; p50 %s, p99 %s\n",
		c.n, c.good, float64(c.good)/took.Seconds(), c.busy, c.bad, round(c.p50), round(c.p99))
	fmt.Printf("reads meanwhile: %d sent, %d errors; p50 %s, p99 %s\n", r.n, r.bad+r.busy, round(r.p50), round(r.p99))
	switch {
	case c.bad > 0 || r.bad+r.busy > 0:
		return fmt.Errorf("at the production cost, the first error: %w", firstOf(pick(c, r)))
	case c.good == 0:
		return fmt.Errorf("at the production cost nobody was created")
	}
	return nil
}

func pick(c, r summary) summary {
	if c.bad > 0 {
		return c
	}
	return r
}

// artillery has Artillery send the mix. What it prints is shown, and its exit code
// is ours.
func (s *stack) artillery(ctx context.Context, o options) error {
	// Two of its packages want a TypeScript before 7, and do not say so.
	args := []string{"--yes", "-p", "artillery@2.0.20", "-p", "typescript@5.9.3", "--", "artillery", "run", "-t", s.gatewayURL, filepath.Join(o.Folder, "artillery.yml")}
	if o.Short {
		args = append(args, "-e", "short")
	}
	cmd := exec.CommandContext(ctx, "npx", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// npx starts Artillery as a child of a child: a signal has to reach them all.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	// Artillery brings a browser that this does not use.
	cmd.Env = append(os.Environ(), "TOKEN="+s.token, "PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1", "ARTILLERY_DISABLE_TELEMETRY=true")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("artillery: %w", err)
	}
	return nil
}
