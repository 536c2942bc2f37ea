// Command postgresql says which PostgreSQL the tests will run on, and downloads
// one into the cache when the machine has none. "make test" runs it first, so
// that no test waits for a download.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/gapless-deploy/gapless/internal/pgtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := pgtest.Prepare(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
