package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/fairway-gateway/fairway/backend/auth"
	api "github.com/fairway-gateway/fairway/backend/http"
	"github.com/fairway-gateway/fairway/backend/job"
	"github.com/fairway-gateway/fairway/backend/sql"
)

// service is everything that runs, from the database up.
type service struct {
	db   *sql.DB
	keys *auth.Keys
	api  *api.Server
	jobs *job.Client
	log  *slog.Logger
}

// run serves until ctx ends, then lets what has begun come to its end.
func (s *service) run(ctx context.Context, l net.Listener, f *serveFlags) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	go s.keys.Run(background, f.keyAge, func(err error) { s.log.Warn("keeping up with signing keys", "error", err) })
	if err := s.jobs.Start(background); err != nil {
		return fmt.Errorf("starting jobs: %w", err)
	}

	srv := &http.Server{
		Handler:           s.api,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	s.log.Info("listening", "address", l.Addr().String())
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	return s.shutdown(srv, f)
}

// shutdown fails readiness, stops accepting, waits for requests and then for jobs
// that have begun, and closes the pools. What is not over shortly before the limit
// is broken off.
func (s *service) shutdown(srv *http.Server, f *serveFlags) error {
	s.log.Info("shutting down")
	hard, cancelHard := context.WithTimeout(context.Background(), f.shutdownLimit)
	defer cancelHard()
	soft, cancelSoft := context.WithTimeout(hard, f.shutdownLimit-min(time.Second, f.shutdownLimit/4))
	defer cancelSoft()
	s.api.Drain()
	select {
	case <-time.After(f.drainDelay):
	case <-soft.Done():
	}
	err := srv.Shutdown(soft)
	if err != nil {
		_ = srv.Close()
	}
	err = errors.Join(err, s.jobs.Shutdown(soft, hard), s.closePools(hard))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("requests or jobs were still running after %s", f.shutdownLimit)
	case err != nil:
		return fmt.Errorf("shutting down: %w", err)
	}
	s.log.Info("stopped")
	return nil
}

// closePools waits for connections that are in use, until ctx ends.
func (s *service) closePools(ctx context.Context) error {
	closed := make(chan struct{})
	go func() {
		s.db.Close()
		close(closed)
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
