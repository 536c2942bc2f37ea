// Command web is a service that tells which version of it answered, with faults
// to be had on purpose:
//
//	VERSION  what it answers
//	PORT     what it listens on (8080), at every address
//	WORK     how long a request takes (5ms)
//	FAULT    unready: it is never ready; crashing: it ends at once; errors: every
//	         second request fails; slow: each takes half a second longer; abrupt:
//	         it ends at SIGTERM with requests in flight
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// drainLimit bounds how long requests in flight may take to finish.
const drainLimit = 20 * time.Second

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	work, err := time.ParseDuration(cmp.Or(os.Getenv("WORK"), "5ms"))
	if err != nil {
		return fmt.Errorf("WORK: %w", err)
	}
	s := &service{version: os.Getenv("VERSION"), fault: fault(os.Getenv("FAULT")), work: work}
	if err := s.fault.known(); err != nil {
		return err
	}
	if s.fault == crashing {
		return errors.New("crashing, as FAULT asks")
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("", cmp.Or(os.Getenv("PORT"), "8080")))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return s.serve(ctx, listener)
}

// serve answers on listener until ctx ends, then finishes what is in flight.
func (s *service) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	if s.fault == abrupt {
		return errors.Join(errors.New("ended at SIGTERM, as FAULT asks"), server.Close())
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}
