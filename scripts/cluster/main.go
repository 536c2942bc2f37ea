// Command cluster runs a real one-node Kubernetes for the tests, with a Gateway
// API data plane, in a network namespace of its own: it listens on no address of
// the machine and reaches none.
//
//	cluster up              builds what is not in the cache, and starts it
//	cluster run -- COMMAND  runs COMMAND where the cluster can be reached
//	cluster status          says whether it runs
//	cluster down            ends all that was started and removes its state
//
// What COMMAND finds in its environment is listed in test/cluster/README.md.
// Where the cluster cannot be had, up says why and exits with status 3.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// unavailable is the exit status that says that nothing is wrong: this machine
// cannot have the cluster.
const unavailable = 3

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	if _, missing := errors.AsType[*MissingError](err); missing {
		os.Exit(unavailable)
	}
	os.Exit(1)
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		args = []string{""}
	}
	switch command, rest := args[0], args[1:]; {
	case command == "up" && len(rest) == 0:
		return up(ctx)
	case command == "start" && len(rest) == 0: // by up, inside the namespace
		return start(ctx)
	case command == "run" && len(rest) > 1 && rest[0] == "--":
		return enter(rest[1:])
	case command == "status" && len(rest) == 0:
		if err := status(); err != nil {
			return err
		}
		progress("it is up")
		return nil
	case command == "down" && len(rest) == 0:
		return down(ctx)
	default:
		return errors.New("usage: cluster up | run -- COMMAND... | status | down")
	}
}

// MissingError says what this machine lacks to run a cluster.
type MissingError struct{ What string }

func (e *MissingError) Error() string { return "not run: " + e.What }
