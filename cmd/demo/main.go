// Command demo sets a stage, a database with addresses, an agent, the address
// book under load, and runs gapless on it from outside, phase by phase, as a
// user would. It ends with what the clients saw.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// options are the demo's flags.
type options struct {
	Strategy strategy `enum:"canary,blue-green,rolling" default:"canary" help:"How the new revision takes over: canary, blue-green or rolling."`
	Fault    fault    `enum:"none,bad-errors,bad-slow,bad-memory,crash,unhealthy,kill-backfill,kill-phase,kill-agent,drift" default:"none" help:"What goes wrong on the way: none; bad-errors, bad-slow, bad-memory, crash, unhealthy (the new revision is bad); kill-backfill, kill-phase, kill-agent (kill -9, then the same again); drift (somebody else moves the traffic)."`
	Rows     int      `default:"200000" help:"Addresses in the table, 1000 to 5000000."`
	Rate     float64  `default:"300" help:"Requests a second."`
	Gapless  string   `type:"existingfile" placeholder:"FILE" help:"The program to run; built anew by default."`
	Keep     bool     `help:"Leave everything standing at the end, until Ctrl-C."`
	JSON     bool     `help:"End with one JSON object on stdout; all else goes to stderr."`
	All      bool     `help:"Run every strategy with every fault, one line each, instead of the one asked for."`
}

// Validate is called by kong.
func (o *options) Validate() error {
	if o.Rows < 1000 || o.Rows > 5_000_000 {
		return fmt.Errorf("--rows %d: allowed are 1000 to 5000000", o.Rows)
	}
	if o.Rate < 1 || o.Rate > 5000 {
		return fmt.Errorf("--rate %g: allowed are 1 to 5000", o.Rate)
	}
	return nil
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("demo"), kong.Description("A release of the article's address book, code and schema together, under load."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	do := run
	if o.All {
		do = runAll
	}
	err := do(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
