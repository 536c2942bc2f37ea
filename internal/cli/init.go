package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/scaffold"
)

// initCmd's flags are empty where they are not given: then they are asked for,
// or have their default.
type initCmd struct {
	Service           string   `placeholder:"NAME" help:"Name of the service."`
	Target            string   `placeholder:"TARGET" help:"Where it runs: local, which is one host under gapless agent; others not yet."`
	Command           string   `placeholder:"COMMAND" help:"What starts one instance, such as \"./releases/{revision}/app\"; {revision} is the commit."`
	Strategy          string   `placeholder:"STRATEGY" help:"How a new version takes over: canary, blue-green, rolling."`
	Steps             []string `placeholder:"PERCENT" help:"The steps of a canary (default 5,25,100)."`
	Schema            *bool    `negatable:"" help:"Whether releases change a database's schema."`
	Gate              string   `placeholder:"GATE" help:"What lets a new version take traffic: environment, comment, none."`
	Environment       string   `placeholder:"NAME" help:"The environment whose reviewers let it (default production)."`
	SchemaEnvironment string   `placeholder:"NAME" help:"The environment whose reviewers let an old form of the schema be removed (default production-schema)."`
	Instances         int      `placeholder:"NUMBER" help:"How many instances serve (default 2)."`
	Health            string   `placeholder:"PATH" help:"Path that answers once an instance is ready (default /healthz)."`
	PortEnv           string   `placeholder:"NAME" help:"Variable in which an instance finds its port (default PORT)."`
	Agent             string   `placeholder:"URL" help:"The agent's admin API, as a job's container reaches it (default https://172.17.0.1:7071)."`
	Build             string   `placeholder:"COMMAND" help:"What puts a commit's program where the agent starts it from; the commit is added to it (default ./scripts/release)."`
	Action            string   `placeholder:"ACTION" help:"The action with its ref (default gapless-deploy/gapless@v1)."`
	Print             bool     `help:"Write everything to standard output, and no file."`
}

// Run writes the files, none of them over one that is there.
func (c *initCmd) Run(env *environment) error {
	if missing := c.missing(); len(missing) > 0 {
		if !terminal(env.Stdin) {
			return &inputError{
				fmt.Errorf("init: %s must be given", strings.Join(missing, ", ")),
				"give them, or run gapless init on a terminal, where it asks",
			}
		}
		if err := c.ask(newQuestions(env.Stdin, env.Stderr)); err != nil {
			return err
		}
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	files, err := scaffold.Files(o)
	if err != nil {
		return &inputError{fmt.Errorf("init: %w", err), "choose another gate or strategy"}
	}
	for _, f := range files {
		if f.Path == scaffold.ConfigPath {
			if _, err := config.Parse(f.Path, []byte(f.Text)); err != nil {
				return fmt.Errorf("init: what was asked for makes no valid config:\n%w", err)
			}
		}
	}
	if c.Print {
		return env.out.print(printed(files))
	}
	if err := writeNew(files); err != nil {
		return err
	}
	return env.out.print(next(o, files))
}

// missing lists the flags without which nothing can be written.
func (c *initCmd) missing() []string {
	var missing []string
	for _, f := range []struct {
		name  string
		given bool
	}{
		{"--service", c.Service != ""},
		{"--command", c.Command != ""},
		{"--strategy", c.Strategy != ""},
		{"--schema or --no-schema", c.Schema != nil},
		{"--gate", c.Gate != ""},
	} {
		if !f.given {
			missing = append(missing, f.name)
		}
	}
	return missing
}

func (c *initCmd) options() (scaffold.Options, error) {
	o := scaffold.Defaults()
	o.Service, o.Command, o.Schema = c.Service, strings.Fields(c.Command), *c.Schema
	o.Strategy = scaffold.Strategy(strings.ReplaceAll(c.Strategy, "-", "_"))
	o.Gate = scaffold.Gate(c.Gate)
	for _, given := range []struct {
		from string
		to   *string
	}{
		{c.Environment, &o.Environment},
		{c.SchemaEnvironment, &o.SchemaEnvironment},
		{c.Health, &o.Health},
		{c.PortEnv, &o.PortEnv},
		{c.Agent, &o.Agent},
		{c.Build, &o.Build},
		{c.Action, &o.Action},
	} {
		if given.from != "" {
			*given.to = given.from
		}
	}
	if len(c.Steps) > 0 {
		o.Steps = c.Steps
	}
	if c.Instances != 0 {
		o.Instances = c.Instances
	}
	if c.Target != "" && c.Target != "local" {
		return o, &inputError{fmt.Errorf("init --target %s: not supported by this build", c.Target), "take local"}
	}
	return o, errors.Join(
		oneOf("--strategy", string(o.Strategy), string(scaffold.Canary), string(scaffold.BlueGreen), string(scaffold.Rolling)),
		oneOf("--gate", c.Gate, string(scaffold.ByEnvironment), string(scaffold.ByComment), string(scaffold.Open)),
	)
}

func oneOf(flag, value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	list := strings.ReplaceAll(strings.Join(known, ", "), "_", "-")
	return &inputError{fmt.Errorf("init %s: expected one of %s, observed %q", flag, list, value), "see gapless init --help"}
}

func terminal(stdin any) bool {
	f, ok := stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func printed(files []scaffold.File) string {
	var b strings.Builder
	for i, f := range files {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "# --- %s ---\n%s", f.Path, f.Text)
	}
	return b.String()
}

// writeNew writes all files or none: it looks first whether one is there.
func writeNew(files []scaffold.File) error {
	var there []string
	for _, f := range files {
		if _, err := os.Lstat(f.Path); err == nil {
			there = append(there, f.Path)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("init: %w", err)
		}
	}
	if len(there) > 0 {
		return &inputError{
			fmt.Errorf("init: %s is there already, and is not written over", strings.Join(there, ", ")),
			"gapless init --print shows what would be written",
		}
	}
	for _, f := range files {
		if err := writeFile(f); err != nil {
			return fmt.Errorf("init: %w", err)
		}
	}
	return nil
}

func writeFile(f scaffold.File) (err error) {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	//nolint:gosec // G302: as a repository's files are; O_EXCL: it may have come up meanwhile
	file, err := os.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = file.WriteString(f.Text)
	return err
}

// next says what is left to do by hand.
func next(o scaffold.Options, files []scaffold.File) string {
	var b strings.Builder
	b.WriteString("Written:\n")
	for _, f := range files {
		fmt.Fprintf(&b, "  %s\n", f.Path)
	}
	names := []string{"GAPLESS_AGENT_TOKEN"}
	if o.Schema {
		names = append(names, "DATABASE_URL")
	}
	environments := "gapless"
	b.WriteString("\nNext:\n")
	fmt.Fprintf(&b, "  1. Have %s COMMIT put that commit's program where %s finds it.\n", o.Build, o.Command[0])
	b.WriteString("  2. Settings, Environments: gapless, for branch main only")
	if o.Gate == scaffold.ByEnvironment {
		fmt.Fprintf(&b, ";\n     %s, for branch main only, with required reviewers", o.Environment)
		environments += ", " + o.Environment
		if o.Schema {
			fmt.Fprintf(&b, ";\n     %s the same", o.SchemaEnvironment)
			environments += ", " + o.SchemaEnvironment
		}
	}
	fmt.Fprintf(&b, ".\n  3. In each of them (%s), secrets: %s;\n"+
		"     for the repository, variable: GAPLESS_AGENT_CA.\n", environments, strings.Join(names, " and "))
	b.WriteString("  4. A self-hosted runner on the service's host, and TLS in front of the agent; then push to main.\n" +
		"\nThe guide: docs/guides/github-actions.md of gapless.\n")
	return b.String()
}
