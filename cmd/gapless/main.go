// Command gapless releases a new version of a service, and the schema change
// it needs, without a gap in service.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/gapless-deploy/gapless/internal/cli"
)

// version is set by the linker.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := cli.Run(ctx, cli.Process{
		Name: os.Args[0], Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ(), Version: version,
	})
	stop()
	os.Exit(code)
}
