// Package scaffold writes what a repository needs to be released by gapless:
// a config and a workflow that fit each other. The examples of workflows come
// from here too, so that they and what "gapless init" writes are the same.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"strings"
	"text/template"
)

//go:embed *.tmpl
var texts embed.FS

// Strategy is how a new revision takes over, as the config names it.
type Strategy string

// The strategies.
const (
	Canary    Strategy = "canary"
	BlueGreen Strategy = "blue_green"
	Rolling   Strategy = "rolling"
)

// Gate is what lets a phase through.
type Gate string

// The gates.
const (
	// ByEnvironment: a GitHub environment with required reviewers.
	ByEnvironment Gate = "environment"
	// ByComment: a comment on the pull request.
	ByComment Gate = "comment"
	// Open: nothing; each phase runs when its job does.
	Open Gate = "none"
)

// Options say what is released and how.
type Options struct {
	Service  string
	Strategy Strategy
	// Steps are the shares of the traffic that a canary goes through, in
	// percent, the last one 100.
	Steps []string
	// Agent is the address of the agent's admin API, as a job's container reaches
	// it: by TLS at docker's bridge. Command starts an instance,
	// which finds its port in PortEnv and answers Health.
	Agent, PortEnv, Health string
	Command                []string
	Instances              int
	// Schema is set where releases bring changes of a database's schema.
	Schema bool
	Gate   Gate
	// Environment is the one whose reviewers let a candidate take traffic,
	// SchemaEnvironment the one before the old form of the schema is removed.
	// Only for ByEnvironment.
	Environment, SchemaEnvironment string
	// Build is the command that puts the program of a commit where the agent
	// starts it from.
	Build string
	// Action is the action with its ref: OWNER/NAME@REF.
	Action string
}

// Defaults are what may be left out.
func Defaults() Options {
	return Options{
		Strategy: Canary, Steps: []string{"5", "25", "100"}, Agent: "https://172.17.0.1:7071", PortEnv: "PORT",
		Health: "/healthz", Instances: 2, Gate: ByEnvironment, Environment: "production",
		SchemaEnvironment: "production-schema", Build: "./scripts/release", Action: "gapless-deploy/gapless@v1",
	}
}

// File is a file of a repository, by its path from the root.
type File struct{ Path, Text string }

// The paths of what is written.
const (
	ConfigPath   = "gapless.yaml"
	WorkflowPath = ".github/workflows/gapless.yml"
	// ChangePath is an example of a schema change. The config does not name it.
	ChangePath = "db/changes/example.yaml"
)

// Files gives all that a repository needs: config, workflow and, with a schema,
// an example of a change. A rolling update behind a comment is refused: its gate
// stands before deploy, and a comment names no revision.
func Files(o Options) ([]File, error) {
	if o.Strategy == Rolling && o.Gate == ByComment {
		return nil, errors.New("a rolling update cannot wait for a comment: deploy itself is gated, and a comment names no revision")
	}
	settings, err := render("gapless.yaml.tmpl", o)
	if err != nil {
		return nil, err
	}
	workflow, err := render("workflow.yml.tmpl", whole(o))
	if err != nil {
		return nil, err
	}
	files := []File{{ConfigPath, settings}, {WorkflowPath, workflow}}
	if o.Schema {
		change, err := render("change.yaml.tmpl", nil)
		if err != nil {
			return nil, err
		}
		files = append(files, File{ChangePath, change})
	}
	return files, nil
}

func render(name string, data any) (string, error) {
	t, err := template.New(name).Funcs(template.FuncMap{"quoted": quoted, "join": strings.Join}).ParseFS(texts, name)
	if err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	return out.String(), nil
}

// quoted is a text as YAML has it between double quotes.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(text) + `"`
}
