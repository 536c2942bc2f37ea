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
	Strategy string  `enum:"canary" default:"canary" help:"How the new revision takes over: canary."`
	Fault    fault   `enum:"none,bad-errors,kill-backfill" default:"none" help:"What goes wrong on the way: none, bad-errors (the new revision answers some requests with an error), kill-backfill (expand is killed in the middle and run again)."`
	Rows     int     `default:"200000" help:"Addresses in the table, 1000 to 5000000."`
	Rate     float64 `default:"300" help:"Requests a second."`
	Gapless  string  `type:"existingfile" placeholder:"FILE" help:"The program to run; built anew by default."`
	Keep     bool    `help:"Leave everything standing at the end, until Ctrl-C."`
	JSON     bool    `help:"End with one JSON object on stdout; all else goes to stderr."`
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

// fault is what goes wrong on the way.
type fault string

const (
	noFault      fault = "none"
	badErrors    fault = "bad-errors"
	killBackfill fault = "kill-backfill"
)

func main() {
	var o options
	kong.Parse(&o, kong.Name("demo"), kong.Description("A canary release of the article's address book, code and schema together, under load."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}
