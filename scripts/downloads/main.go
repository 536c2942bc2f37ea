// Command downloads says which PostgreSQL the tests will run on, and downloads
// one into the cache when the machine has none, and GitHub's description of its
// API. "make test" runs it first, so that no test waits for a download.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/pgtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := prepare(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func prepare(ctx context.Context) error {
	if err := pgtest.Prepare(ctx, os.Stdout); err != nil {
		return err
	}
	return githubtest.Prepare(ctx, os.Stdout)
}
