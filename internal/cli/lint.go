package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/lint"
)

type lintCmd struct {
	Contract bool     `help:"Review .sql files as run when no running revision uses the old form."`
	Files    []string `arg:"" name:"file" help:"SQL (.sql) and change files (.yaml, .yml)."`
}

// linted is a finding and the file that it is in.
type linted struct {
	File string `json:"file"`
	lint.Finding
}

// changeFile is the rule of what is wrong with a change file beside its SQL.
const changeFile = "change-file"

// Run reviews files by themselves.
func (c *lintCmd) Run(env *environment) error {
	var all []linted
	for _, file := range c.Files {
		found, err := c.review(file)
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	for _, f := range all {
		if f.Stands() {
			env.status = exitRefused
		}
	}
	env.annotateLint(all)
	if env.commands.Format == "json" {
		return env.json(lintResult(len(c.Files), all))
	}
	text := lintText(len(c.Files), all)
	if env.commands.Format == "markdown" {
		text = "```text\n" + text + "```\n"
	}
	return env.out.print(text)
}

func (c *lintCmd) review(file string) (all []linted, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, &inputError{fmt.Errorf("lint: %w", err), "name files that are there"}
	}
	var findings []lint.Finding
	switch strings.ToLower(filepath.Ext(file)) {
	case ".sql":
		stage := lint.Expand
		if c.Contract {
			stage = lint.Contract
		}
		findings = lint.Review(string(data), stage)
	case ".yaml", ".yml":
		var faults error
		_, findings, faults = change.Lint(file, data)
		for _, f := range document.FaultsOf(faults) {
			findings = append(findings, lint.Finding{
				Line: f.Line, Column: f.Column, Rule: changeFile, Level: lint.Refused, Message: f.Message, Suggestion: f.Suggestion,
			})
		}
	default:
		return nil, &inputError{fmt.Errorf("lint: %s is neither .sql nor .yaml", file), "name SQL or change files"}
	}
	for _, f := range findings {
		all = append(all, linted{file, f})
	}
	return all, nil
}

// levels are the levels of findings, gravest first, with their headings.
func levels() []struct {
	level   lint.Level
	heading string
} {
	return []struct {
		level   lint.Level
		heading string
	}{
		{lint.Refused, "refused"}, {lint.NeedsReview, "needs review"}, {lint.Warning, "warning"}, {lint.Allowed, "allowed"},
	}
}

// lintText shows findings by their level, and counts them.
func lintText(files int, all []linted) string {
	var text strings.Builder
	var counts []string
	for _, l := range levels() {
		n := 0
		for _, f := range all {
			if f.Level != l.level {
				continue
			}
			if n++; n == 1 {
				text.WriteString(l.heading + ":\n")
			}
			fmt.Fprintf(&text, "%s:%d:%d: %s: %s\n", f.File, f.Line, f.Column, f.Rule, f.Message)
			if f.Level == lint.Allowed {
				fmt.Fprintf(&text, "  reason: %s\n", f.Reason)
			} else if f.Suggestion != "" {
				fmt.Fprintf(&text, "  hint: %s\n", f.Suggestion)
			}
		}
		if n > 0 {
			text.WriteString("\n")
			counts = append(counts, fmt.Sprintf("%d %s", n, l.heading))
		}
	}
	if len(counts) == 0 {
		counts = []string{"clean"}
	}
	noun := "files"
	if files == 1 {
		noun = "file"
	}
	fmt.Fprintf(&text, "%d %s: %s\n", files, noun, strings.Join(counts, ", "))
	return text.String()
}

// lintOutput is the machine's form of what was found.
type lintOutput struct {
	Version  int                `json:"version"`
	Files    int                `json:"files"`
	Clean    bool               `json:"clean"`
	Counts   map[lint.Level]int `json:"counts"`
	Findings []linted           `json:"findings"`
}

func lintResult(files int, all []linted) lintOutput {
	out := lintOutput{Version: resultVersion, Files: files, Clean: true, Counts: map[lint.Level]int{}, Findings: all}
	if out.Findings == nil {
		out.Findings = []linted{}
	}
	for _, f := range all {
		out.Counts[f.Level]++
		out.Clean = out.Clean && !f.Stands()
	}
	return out
}

// annotateLint shows findings beside their lines, in a step of a workflow.
func (env *environment) annotateLint(all []linted) {
	if env.Getenv("GITHUB_ACTIONS") != "true" {
		return
	}
	log := runner.NewLog(env.Stderr)
	// What stands in the files could be read as an order otherwise.
	env.out.process.Stdout, env.out.process.Stderr = runner.NewLog(env.Stdout), log
	var failed error
	for _, f := range all {
		level := runner.Error
		switch f.Level {
		case lint.Warning:
			level = runner.Warning
		case lint.Allowed:
			level = runner.Notice
		case lint.Refused, lint.NeedsReview:
		}
		message := f.Message
		if f.Suggestion != "" {
			message += "; " + f.Suggestion
		}
		failed = errors.Join(failed, log.Annotate(runner.Annotation{
			Level: level, Title: "gapless lint: " + f.Rule, Message: env.out.mask.apply(message), File: f.File, Line: f.Line, Column: f.Column,
		}))
	}
	if failed != nil {
		env.out.say(fmt.Sprintf("warning: %v\n", failed))
	}
}
