package process

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this test binary play the started program.
func TestMain(m *testing.M) {
	switch os.Getenv("PROCESS_TEST_ROLE") {
	case "polite":
		time.Sleep(time.Minute)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		os.Stdout.WriteString("deaf\n")
		time.Sleep(time.Minute)
	case "busy":
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		}
	case "failing":
		os.Stderr.WriteString("cannot read the moon\n")
		os.Exit(3)
	default:
		os.Exit(m.Run())
	}
}

func run(t *testing.T, role string) *Process {
	t.Helper()
	p, err := Start(Spec{
		Name: role, Path: os.Args[0], Dir: t.TempDir(),
		Env: []string{"PROCESS_TEST_ROLE=" + role},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestProcess_StopEndsThePolite(t *testing.T) {
	p := run(t, "polite")
	if err := p.Stop(10 * time.Second); err != nil {
		t.Errorf("Stop() = %v", err)
	}
	if err := p.Stop(time.Second); err != nil {
		t.Errorf("second Stop() = %v, want nil", err)
	}
}

func TestProcess_StopKillsTheStubborn(t *testing.T) {
	p := run(t, "stubborn")
	err := p.WaitFor(deadline(t), func(context.Context) error {
		if !strings.Contains(p.Log(), "deaf") {
			return errors.New("still listening")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(50 * time.Millisecond); !errors.Is(err, ErrKilled) {
		t.Errorf("Stop() = %v, want %v", err, ErrKilled)
	}
	select {
	case <-p.Done():
	default:
		t.Error("it runs after Stop returned")
	}
}

func TestProcess_WaitForShowsWhyItEnded(t *testing.T) {
	p := run(t, "failing")
	err := p.WaitFor(deadline(t), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "cannot read the moon") {
		t.Errorf("WaitFor() = %v, want the program's own words", err)
	}
	if got := p.ExitCode(); got != 3 {
		t.Errorf("ExitCode() = %d, want 3", got)
	}
}

func TestProcess_CountsCPUAndMemory(t *testing.T) {
	p := run(t, "busy")
	err := p.WaitFor(deadline(t), func(context.Context) error {
		used, err := p.CPU()
		if err != nil {
			return err
		}
		if used < 50*time.Millisecond {
			return errors.New("no processor time counted")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rss, err := p.PeakRSS(); err != nil || rss < 1<<20 {
		t.Errorf("PeakRSS() = %d, %v, want over 1 MiB", rss, err)
	}
}

func TestParseStat_NameWithParentheses(t *testing.T) {
	line := "42 (a) b (c) R 7 42 42 0 -1 4194304 1 2 3 4 10 20 30 40 20 0 1 0 5\n"
	pid, s, err := parseStat([]byte(line))
	if err != nil || pid != 42 || s.parent != 7 || s.ticks != 100 {
		t.Errorf("parseStat() = %d, %+v, %v, want pid 42, parent 7, 100 ticks", pid, s, err)
	}
}

func TestFreePort_NeverTwice(t *testing.T) {
	seen := make(map[int]bool)
	for range 200 {
		port := FreePort()
		if seen[port] {
			t.Fatalf("FreePort() = %d twice", port)
		}
		seen[port] = true
	}
}
