package main

import (
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

// lab is the bench's set-up for one run: the programs, the cores they run on,
// and what serves all scenarios. It is not safe for concurrent use.
type lab struct {
	options
	dir string

	serverCores []int
	loadCores   []int

	programs   map[Server]string
	self       string
	wrk        string
	made       *credentials
	users      int // how many tokens usersFile has
	originAddr string
	redisAddr  string // empty if no chosen contender needs Redis

	helpers []*process.Process // origin and Redis
}

// startLimit is how long a program may take to answer.
const startLimit = 30 * time.Second

func newLab(ctx context.Context, o options, dir string, chosen []Scenario) (*lab, error) {
	l := &lab{options: o, dir: dir}
	if err := l.divideCores(); err != nil {
		return nil, err
	}
	var err error
	if l.wrk, err = exec.LookPath("wrk"); err != nil {
		return nil, errors.New("the load generator wrk is not installed (apt-get install wrk)")
	}
	if l.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if l.made, err = l.writeFiles(); err != nil {
		return nil, err
	}
	if err := l.findPrograms(ctx); err != nil {
		return nil, err
	}
	if err := l.startHelpers(ctx, chosen); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// divideCores gives the server one core and the load generator, the origin and
// Redis the others.
func (l *lab) divideCores() error {
	cores := process.Cores()
	if len(cores) > 1 {
		l.serverCores, l.loadCores = cores[:1], cores[1:]
		return nil
	}
	if !l.Short {
		return fmt.Errorf("measuring needs two processor cores, this process may use %d; -short runs on one", len(cores))
	}
	return nil
}

// findPrograms builds the programs that the command line does not name.
func (l *lab) findPrograms(ctx context.Context) error {
	l.programs = map[Server]string{Fairway: l.Fairway, StockCaddy: l.Caddy}
	packages := map[Server]string{
		Fairway:    "./cmd/fairway",
		StockCaddy: "github.com/caddyserver/caddy/v2/cmd/caddy",
	}
	for server, program := range l.programs {
		if program != "" {
			abs, err := filepath.Abs(program)
			if err != nil {
				return err
			}
			l.programs[server] = abs
			continue
		}
		l.programs[server] = filepath.Join(l.dir, string(server))
		fmt.Fprintf(os.Stderr, "building %s\n", packages[server])
		cmd := exec.CommandContext(ctx, "go", "build", "-o", l.programs[server], packages[server])
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", packages[server], err, out)
		}
	}
	return nil
}

func (l *lab) startHelpers(ctx context.Context, chosen []Scenario) error {
	l.originAddr = process.FreeAddr()
	err := l.help(ctx, l.originAddr, process.Spec{
		Name: "origin", Path: l.self, Args: []string{loopCommand, "-listen", l.originAddr},
	})
	if err != nil || !needRedis(chosen) {
		return err
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return errors.New("redis-server is not installed (apt-get install redis-server)")
	}
	l.redisAddr = process.FreeAddr()
	_, port, _ := strings.Cut(l.redisAddr, ":")
	return l.help(ctx, l.redisAddr, process.Spec{
		Name: "redis", Path: path,
		Args: []string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"},
	})
}

func needRedis(chosen []Scenario) bool {
	for _, s := range chosen {
		for _, c := range s.Contenders {
			if c.Redis {
				return true
			}
		}
	}
	return false
}

// help starts a program on the load generator's cores that serves all scenarios.
func (l *lab) help(ctx context.Context, addr string, s process.Spec) error {
	s.Dir, s.Cores = l.dir, l.loadCores
	p, err := process.Start(s)
	if err != nil {
		return err
	}
	l.helpers = append(l.helpers, p)
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return p.WaitFor(ctx, process.TCPReady(addr))
}

func (l *lab) close() {
	for _, p := range l.helpers {
		p.Kill()
	}
}

// serve starts a contender's server on the server's core.
func (l *lab) serve(ctx context.Context, c Contender) (*process.Process, string, error) {
	addr := process.FreeAddr()
	spec := process.Spec{Name: string(c.Server) + "-server", Dir: l.dir, Cores: l.serverCores}
	switch c.Server {
	case LoopAnswer:
		spec.Path, spec.Args = l.self, []string{loopCommand, "-listen", addr}
	case LoopProxy:
		spec.Path, spec.Args = l.self, []string{loopCommand, "-listen", addr, "-to", l.originAddr}
	default:
		config := filepath.Join(l.dir, "Caddyfile")
		if err := os.WriteFile(config, []byte(l.caddyfile(c, addr)), 0o600); err != nil {
			return nil, "", err
		}
		spec.Path, spec.Args = l.programs[c.Server], []string{"run", "--config", config, "--adapter", "caddyfile"}
	}
	p, err := process.Start(spec)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := p.WaitFor(ctx, process.TCPReady(addr)); err != nil {
		p.Kill()
		return nil, "", err
	}
	return p, addr, nil
}
