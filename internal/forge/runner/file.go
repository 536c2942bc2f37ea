package runner

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
)

// Value is a named text that a step hands on.
type Value struct{ Name, Text string }

// SetOutputs hands outputs to the jobs and steps after this one. A name that
// is not one of Outputs is an error, and then none is written.
func (e Env) SetOutputs(values ...Value) error {
	for _, v := range values {
		if !slices.ContainsFunc(Outputs(), func(o Output) bool { return o.Name == v.Name }) {
			return fmt.Errorf("output %q is not one of the action's", v.Name)
		}
	}
	return e.hand("GITHUB_OUTPUT", e.OutputPath, values)
}

// SaveState keeps values for the action's post step, which reads them by State.
func (e Env) SaveState(values ...Value) error { return e.hand("GITHUB_STATE", e.StatePath, values) }

// SetVariables sets environment variables for the steps after this one.
func (e Env) SetVariables(values ...Value) error {
	return e.hand("GITHUB_ENV", e.VariablesPath, values)
}

var named = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// hand appends values to one of the runner's files, all of them or, where one
// cannot be written, none. A value stands between two lines of a text that is
// new for each and does not occur in it, so that no value can end early and be
// read as more outputs. What is not UTF-8 is replaced, as the runner would.
func (e Env) hand(variable, path string, values []Value) error {
	if path == "" {
		return fmt.Errorf("%s is not set: this is no step of a workflow", variable)
	}
	var b strings.Builder
	for _, v := range values {
		if !named.MatchString(v.Name) {
			return fmt.Errorf("%s: %q cannot be a name", variable, v.Name)
		}
		text := strings.ToValidUTF8(v.Text, "\uFFFD")
		delimiter := e.delimiter()
		for strings.Contains(text, delimiter) {
			delimiter = e.delimiter()
		}
		fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", v.Name, delimiter, text, delimiter)
	}
	if err := appendTo(path, b.String()); err != nil {
		return fmt.Errorf("%s: %w", variable, err)
	}
	return nil
}

// appendTo writes in one piece, so that a step which is killed leaves no half
// of a value.
func appendTo(path, text string) (err error) {
	//nolint:gosec // G302: the runner made the file; this is what it makes it with
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(text)
	return err
}
