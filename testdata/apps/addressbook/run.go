package addressbook

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// poolSize is small: several instances of two revisions share a database.
	poolSize = 4
	// drainLimit bounds how long requests in flight may take to finish.
	drainLimit = 20 * time.Second
)

// Run serves the book in form until SIGTERM or SIGINT, then finishes what is in
// flight. It listens on $PORT (8080) of $HOST (127.0.0.1) and keeps its
// addresses in $DATABASE_URL.
func Run(form Form, faults Faults) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	address := net.JoinHostPort(cmp.Or(os.Getenv("HOST"), "127.0.0.1"), cmp.Or(os.Getenv("PORT"), "8080"))
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return Serve(ctx, listener, os.Getenv("DATABASE_URL"), form, faults, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// Serve serves the book on listener until ctx ends.
func Serve(ctx context.Context, listener net.Listener, database string, form Form, faults Faults, log *slog.Logger) error {
	pool, err := connect(ctx, database)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	defer pool.Close()
	held := faults.hold()
	defer runtime.KeepAlive(held)

	flights := newFlights()
	handler := service{book: book{pool: pool, form: form}, faults: faults, log: log}.handler()
	server := &http.Server{Handler: flights.count(handler), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	// Whoever routes to us may still send: stop listening only when nothing is
	// in flight.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainLimit)
	defer cancel()
	flights.wait(drain)
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

func connect(ctx context.Context, database string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	config.MaxConns = poolSize
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "address-book"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return pool, nil
}

// flights counts the requests in flight.
type flights struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed while n is 0
}

func newFlights() *flights {
	f := &flights{empty: make(chan struct{})}
	close(f.empty)
	return f
}

func (f *flights) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.add(1)
		defer f.add(-1)
		h.ServeHTTP(w, r)
	})
}

func (f *flights) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n == 0 {
		f.empty = make(chan struct{})
	}
	if f.n += n; f.n == 0 {
		close(f.empty)
	}
}

func (f *flights) wait(ctx context.Context) {
	f.mu.Lock()
	empty := f.empty
	f.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}
