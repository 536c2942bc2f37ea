// Package cli is gapless's command line, and its composition root: the only
// package that knows every adapter.
package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"github.com/alecthomas/kong"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Process is the program's surroundings.
type Process struct {
	// Name is what the program was called as.
	Name string
	Args []string
	// Stdin is where questions are answered, if it is a terminal.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string
	// Environ is the whole environment, as os.Environ gives it.
	Environ []string
	Version string
}

// Exit statuses; docs/design.md says what each means to a workflow.
const (
	exitDone        = 0
	exitRefused     = 2
	exitStopped     = 3
	exitWaiting     = 4
	exitNeedsPerson = 5
)

// commands is the grammar of the command line.
type commands struct {
	Config string `short:"c" default:"gapless.yaml" placeholder:"FILE" help:"The service's config (default gapless.yaml)."`
	State  string `default:".gapless" placeholder:"DIR" env:"GAPLESS_STATE" help:"Directory that keeps the records (default .gapless)."`
	Format string `default:"terminal" enum:"terminal,markdown,json" help:"How the result is written: terminal, markdown, json."`

	Plan      planCmd      `cmd:"" help:"Show what a release would do; changes nothing."`
	Expand    expandCmd    `cmd:"" help:"Make the schema serve the old and the new revision alike."`
	Deploy    deployCmd    `cmd:"" help:"Bring the candidate beside stable, at weight 0; rolling: replace the instances batch by batch."`
	Promote   promoteCmd   `cmd:"" help:"Give the candidate more of the traffic, and judge it."`
	Tick      tickCmd      `cmd:"" help:"Look once: take back what went bad, name what is due."`
	Retire    retireCmd    `cmd:"" help:"Stop the old revision once the rollback window is over."`
	Contract  contractCmd  `cmd:"" help:"Archive and remove the old form from the schema."`
	Rollback  rollbackCmd  `cmd:"" help:"Give all traffic to stable, at once."`
	Hold      holdCmd      `cmd:"" help:"Keep the rollout where it is until its next step is approved anew."`
	Adopt     adoptCmd     `cmd:"" help:"Begin the record anew, by what serves, where it is lost."`
	Pause     pauseCmd     `cmd:"" help:"Let the backfill of a change wait, whoever runs it."`
	Resume    resumeCmd    `cmd:"" help:"Let a paused backfill go on."`
	Restore   restoreCmd   `cmd:"" help:"Bring back what contract hid or dropped."`
	Status    statusCmd    `cmd:"" help:"Show record and reality side by side."`
	Can       canCmd       `cmd:"" help:"List what a phase needs, met or not."`
	Init      initCmd      `cmd:"" help:"Write a config and a workflow for the repository it stands in."`
	Validate  validateCmd  `cmd:"" help:"Check the config and the change files."`
	Lint      lintCmd      `cmd:"" help:"Tell what SQL and change files would do to the revision that runs; needs no database."`
	Uninstall uninstallCmd `cmd:"" help:"Take gapless out of the database, or release what a service claims there."`
	Agent     agentCmd     `cmd:"" help:"Run services on this host: supervisor and router."`
	Command   commandCmd   `cmd:"" hidden:"" help:"Find out what a comment asks for."`
	Action    actionCmd    `cmd:"" hidden:"" help:"Run the phase that the inputs of a workflow's step ask for."`
	Version   versionCmd   `cmd:"" help:"Print the version."`
}

// Run runs one command and gives the exit status.
func Run(ctx context.Context, p Process) int {
	if filepath.Base(p.Name) == postName {
		p.Args = []string{"action", "post"}
	}
	env := &environment{Process: p, out: newOutput(p)}
	if err := env.invoke(ctx, p.Args); err != nil {
		return env.out.fail(err)
	}
	return env.status
}

// invoke understands a command line and runs its command.
func (env *environment) invoke(ctx context.Context, args []string) error {
	env.commands = &commands{}
	parser, err := kong.New(env.commands,
		kong.Name("gapless"),
		kong.Description("Releases a new version of a service, and the schema change it needs, without a gap."),
		kong.Writers(env.Stdout, env.Stderr), kong.UsageOnError(), kong.Exit(func(int) {}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return fmt.Errorf("command line: %w", err)
	}
	if len(args) == 1 && args[0] == "--version" {
		args = []string{"version"}
	}
	if helpWanted(args) {
		usage(parser, args)
		return nil
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return &usageError{err}
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	return parsed.Run(env)
}

func helpWanted(args []string) bool {
	for _, a := range args {
		if a == "--help" || a == "-h" {
			return true
		}
	}
	return len(args) == 0
}

// usage prints the help; kong does so as a side effect of parsing. That the
// rest of the line may not be complete is no matter.
func usage(parser *kong.Kong, args []string) {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	_, _ = parser.Parse(args) //nolint:errcheck // see above
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *usageError) Hint() string { return "gapless --help lists the commands" }

// environment is what commands run in.
type environment struct {
	Process
	out      *output
	commands *commands
	status   int
	// job is nil outside of a workflow's step.
	job *job
	// service is known once the config was read.
	service string
	// backfill is what the command line says of it, over the config.
	backfill backfillFlags
	lever    lever
}

// statusOf is the exit status of an outcome.
func statusOf(o rollout.Outcome) int {
	switch o {
	case rollout.Done:
		return exitDone
	case rollout.Refused:
		return exitRefused
	case rollout.Stopped:
		return exitStopped
	case rollout.Waiting:
		return exitWaiting
	case rollout.NeedsPerson:
	}
	return exitNeedsPerson
}

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(env *environment) error {
	return env.out.print("gapless " + env.Version + "\n")
}
