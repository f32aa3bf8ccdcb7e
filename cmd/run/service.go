package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// service is one started program. err may be read once done is closed.
type service struct {
	name    string
	logFile string
	cmd     *exec.Cmd
	done    chan struct{}
	err     error
}

// start starts a program whose output goes to <data>/<name>.log. It is told to
// stop by us alone: a Ctrl-C in the terminal does not reach it.
func start(name string, o options, path string, args ...string) (*service, error) {
	env, err := environment(o)
	if err != nil {
		return nil, err
	}
	s := &service{name: name, logFile: filepath.Join(o.data, name+".log"), done: make(chan struct{})}
	log, err := os.Create(s.logFile)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(path, args...)
	s.cmd.Env = env
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = processAttributes()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// ended says why a service is no longer there: its exit and its last words.
func (s *service) ended() error {
	how := "exit status 0"
	if s.err != nil {
		how = s.err.Error()
	}
	return fmt.Errorf("%s ended by itself (%s): %s (see %s)", s.name, how, lastWords(s.logFile), s.logFile)
}

// errHurry is how a service's stop ends when a second signal came.
var errHurry = errors.New("killed at the second signal")

// stop ends the services in turn, each with its own grace; the end of the grace
// kills one, a second signal kills all. The error names the first that did not
// stop cleanly.
func stop(grace time.Duration, signals <-chan os.Signal, services ...*service) error {
	var first error
	for _, s := range services {
		err := s.stop(grace, signals)
		first = firstError(first, err)
		if errors.Is(err, errHurry) {
			grace = 0
		}
	}
	return first
}

func (s *service) stop(grace time.Duration, signals <-chan os.Signal) error {
	select {
	case <-s.done:
		return nil // its end has been reported
	default:
	}
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.kill() // no such signal on this system
		return nil
	}
	limit := time.NewTimer(grace)
	defer limit.Stop()
	select {
	case <-s.done:
		if s.err != nil {
			return fmt.Errorf("%s: stopping: %w: %s (see %s)", s.name, s.err, lastWords(s.logFile), s.logFile)
		}
		return nil
	case <-limit.C:
		s.kill()
		return fmt.Errorf("%s: killed: it had not stopped after %s (see %s)", s.name, grace, s.logFile)
	case <-signals:
		s.kill()
		return fmt.Errorf("%s: %w", s.name, errHurry)
	}
}

func (s *service) kill() {
	_ = s.cmd.Process.Kill() // fails only if it has ended meanwhile
	<-s.done
}
