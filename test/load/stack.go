package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairway-gateway/fairway/test/process"
)

// patience is how long a start or a stop may take.
const patience = time.Minute

// stack is a gateway and the user service behind it, with the users 1 to 1000 and
// an admin.
type stack struct {
	o          options
	dir        string
	service    *process.Process
	gateway    *process.Process
	address    string // of the service
	gatewayURL string
	token      string // the admin's
	made       int    // users with a mail that it created itself
}

const admin = "root@example.com"

func newStack(ctx context.Context, o options) (_ *stack, err error) {
	for _, program := range []*string{&o.Fairway, &o.Users} {
		if _, err := os.Stat(*program); err != nil {
			return nil, fmt.Errorf("%w: run `make build` first", err)
		}
		if *program, err = filepath.Abs(*program); err != nil {
			return nil, err
		}
	}
	s := &stack{o: o, address: process.FreeAddr()}
	if s.dir, err = os.MkdirTemp("", "fairway-load-"); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *stack) begin(ctx context.Context) error {
	if _, err := s.command(ctx, "seed", fmt.Sprint(users)); err != nil {
		return err
	}
	if _, err := s.command(ctx, "admin", "create", "--email", admin, "--name", "Root", "--password-stdin"); err != nil {
		return err
	}
	if err := s.serve(ctx, "--insecure-test-argon2"); err != nil {
		return err
	}
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	var err error
	if s.token, err = login(ctx, "http://"+s.address, admin); err != nil {
		return err
	}
	// The gateway fetches keys and the API's document in the background.
	ready := func(ctx context.Context) error {
		for _, k := range []kind{read, create} {
			if a := s.send(ctx, k); a.err != nil || a.status >= 300 {
				return a.failure()
			}
		}
		s.made = 2 // this one and the admin
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.gateway.WaitFor(ctx, ready)
}

// database are the flags that name it.
func (s *stack) database() []string {
	return []string{"--data", filepath.Join(s.dir, "data"), "--database-url", s.o.Database}
}

// command runs the users program to its end, with the password on its standard
// input, and returns what it printed.
func (s *stack) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.o.Users, append(args, s.database()...)...)
	cmd.Stdin = strings.NewReader(password + "\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("users %s: %w: %s", args[0], err, errs.Bytes())
	}
	return out, nil
}

// serve starts the user service, after the one that may be running.
func (s *stack) serve(ctx context.Context, flags ...string) (err error) {
	if s.service != nil {
		if err := s.service.Stop(patience); err != nil {
			return err
		}
	}
	s.service, err = process.Start(process.Spec{
		Name: "users", Path: s.o.Users, Dir: s.dir,
		Args: append(append([]string{"serve", "--listen", s.address}, s.database()...), flags...),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.service.WaitFor(ctx, process.HTTPReady("http://"+s.address+"/health"))
}

func (s *stack) startGateway(ctx context.Context) error {
	config, err := filepath.Abs(filepath.Join(s.o.Folder, "Caddyfile"))
	if err != nil {
		return err
	}
	listen := process.FreeAddr()
	s.gatewayURL = "http://" + listen
	s.gateway, err = process.Start(process.Spec{
		Name: "fairway", Path: s.o.Fairway, Dir: s.dir,
		Args: []string{"run", "--config", config, "--adapter", "caddyfile"},
		Env: []string{
			"FAIRWAY_LISTEN=:" + listen[strings.LastIndexByte(listen, ':')+1:], "FAIRWAY_BIND=127.0.0.1",
			"FAIRWAY_ADMIN=" + process.FreeAddr(), "USERS_ADDRESS=" + s.address,
			"HOME=" + s.dir, "XDG_CONFIG_HOME=" + s.dir, "XDG_DATA_HOME=" + s.dir,
		},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.gateway.WaitFor(ctx, process.TCPReady(listen))
}

// stop ends both programs and removes their folder.
func (s *stack) stop() error {
	var err error
	for _, p := range []*process.Process{s.gateway, s.service} {
		if p != nil {
			err = errors.Join(err, p.Stop(patience))
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}
