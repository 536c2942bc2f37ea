package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// killing is a store that kills its own process at one of its saves.
type killing struct {
	phase.Store
	saves, at int
	after     bool
}

// Save implements phase.Store.
func (k *killing) Save(ctx context.Context, r rollout.Record, follows rollout.Head) error {
	k.saves++
	if k.saves == k.at && !k.after {
		return die()
	}
	err := k.Store.Save(ctx, r, follows)
	if k.saves == k.at {
		return errors.Join(err, die())
	}
	return err
}

func die() error {
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		return err
	}
	select {}
}

// killed runs one phase with the real parts and a killing store: all the
// program does but reading its command line.
func killed() {
	flags := flag.NewFlagSet("killed", flag.ExitOnError)
	config := flags.String("config", "gapless.yaml", "")
	revision := flags.String("revision", "", "")
	to := flags.String("to", "", "")
	accept := flags.String("accept", "", "")
	must(flags.Parse(os.Args[2:]))
	work := phase.Work{Request: plan.Request{Phase: rollout.Phase(os.Args[1]), Accept: *accept}, Revision: *revision}
	if *to != "" {
		var err error
		work.Request.To, err = rollout.ParseWeight(*to)
		must(err)
	}
	p := Process{Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv}
	env := &environment{Process: p, out: newOutput(p), commands: &commands{Config: *config, State: ".gapless"}}
	r, err := env.compose()
	must(err)
	at, err := strconv.Atoi(os.Getenv("KILL_AT"))
	must(err)
	r.runner.Store = &killing{Store: r.runner.Store, at: at, after: os.Getenv("KILL_AFTER") == "true"}
	r.runner.Lease = 400 * time.Millisecond // what is waited for after each kill
	work.Config, work.ChangeFiles = r.work.Config, r.work.ChangeFiles
	res, err := r.runner.Run(context.Background(), work)
	must(err)
	fmt.Fprintln(os.Stderr, res.Outcome, res.Reason)
	os.Exit(statusOf(res.Outcome))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// deepest is the last save of a run at which it is killed.
const deepest = 5

// survive runs "gapless PHASE ..." killed at each of its first saves, before
// and after it, each time going on from what the last one left; then once
// more, to its end. "-ends STATUS" says how it ends, 0 unless given.
func survive(ts *testscript.TestScript, _ bool, args []string) {
	kills, ends := 0, 0
	if args[0] == "-ends" {
		var err error
		ends, err = strconv.Atoi(args[1])
		ts.Check(err)
		args = args[2:]
	}
	for n := 1; n <= deepest; n++ {
		for _, after := range []bool{false, true} {
			ts.Setenv("KILL_AT", strconv.Itoa(n))
			ts.Setenv("KILL_AFTER", strconv.FormatBool(after))
			err := ts.Exec("gapless-killed", args...)
			if exitStatus(ts, err) == ends {
				continue
			}
			if !wasKilled(err) {
				ts.Fatalf("killed at save %d (after %t): ended by itself: %v\n%s", n, after, err, ts.ReadFile("stderr"))
			}
			kills++
		}
	}
	if kills == 0 {
		ts.Fatalf("%s was never killed", strings.Join(args, " "))
	}
	if got := exitStatus(ts, ts.Exec("gapless", args...)); got != ends {
		ts.Fatalf("exit status %d, want %d", got, ends)
	}
	ts.Logf("%s survived %d kills", args[0], kills)
}

func wasKilled(err error) bool {
	exit := (*exec.ExitError)(nil)
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
