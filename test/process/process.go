// Package process starts the real programs that the whole-server tests and the
// benchmark drive: the gateway, the user service, redis-server, PostgreSQL.
//
// It ends only what it started, by process id. On Linux a started program also
// dies with the one that started it, so that a test that panics or runs into
// its time limit leaves nothing behind.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// ErrKilled says that a program did not end by itself within its grace period.
var ErrKilled = errors.New("killed: it did not stop in time")

// Spec says what to start. Name, Path and Dir are required.
type Spec struct {
	// What the program is called in messages; also names its log file.
	Name string

	// The executable and its arguments.
	Path string
	Args []string

	// Variables added to this process's environment, as KEY=value.
	Env []string

	// Working folder; what the program prints goes to NAME.log in it,
	// which each start begins anew.
	Dir string

	// The processor cores the program may use. Default: any. Linux only.
	Cores []int

	// The user and group to run as. Default: this process's. PostgreSQL
	// refuses to run as root, which is what this is for.
	Credential *syscall.Credential
}

// Process is one running program. Its methods may be called from any goroutine.
type Process struct {
	spec Spec
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error // how it ended; read only after done is closed
}

// Start starts a program and returns at once; see WaitFor.
func Start(s Spec) (*Process, error) {
	logPath := filepath.Join(s.Dir, s.Name+".log")
	out, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the log of %s: %w", s.Name, err)
	}
	defer out.Close()

	cmd := exec.Command(s.Path, s.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.Dir, out, out
	cmd.Env = append(os.Environ(), s.Env...)
	if err := start(cmd, s); err != nil {
		return nil, fmt.Errorf("starting %s: %w", s.Name, err)
	}
	p := &Process{spec: s, cmd: cmd, log: logPath, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Name is what the program is called in messages.
func (p *Process) Name() string { return p.spec.Name }

// Pid is the program's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the program's exit code: -1 while it runs and after a signal.
func (p *Process) ExitCode() int {
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode()
	default:
		return -1
	}
}

// Log returns all that the program printed so far.
func (p *Process) Log() string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// LogTail returns the last n lines of the log, each cut at 500 bytes.
func (p *Process) LogTail(n int) string {
	const most = 500
	lines := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, line := range lines {
		if len(line) > most {
			lines[i] = line[:most] + "…"
		}
	}
	return strings.Join(lines, "\n")
}

// Signal sends a signal; to a program that has ended it does nothing.
func (p *Process) Signal(sig os.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Stop asks the program to end with SIGTERM and waits. After grace it kills it
// and returns ErrKilled. Stopping a program that has ended does nothing.
func (p *Process) Stop(grace time.Duration) error {
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping %s: %w", p.spec.Name, err)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(grace):
		p.Kill()
		return fmt.Errorf("%s: %w (%s)", p.spec.Name, ErrKilled, grace)
	}
}

// Kill ends the program at once and waits until it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// WaitFor calls ready until it returns nil. It fails as soon as the program
// ends or ctx does, with the last lines the program printed.
func (p *Process) WaitFor(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended (%v) before it was ready:\n%s", p.spec.Name, p.cmd.ProcessState, p.LogTail(40))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log:\n%s", p.spec.Name, err, p.LogTail(40))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
