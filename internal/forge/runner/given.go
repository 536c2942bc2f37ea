package runner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gapless-deploy/gapless/internal/document"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const inputPrefix = "INPUT_"

// variable is the environment variable in which the runner passes an input:
// upper case, spaces as "_"; dashes stay.
func variable(input string) string {
	return inputPrefix + strings.ToUpper(strings.ReplaceAll(input, " ", "_"))
}

// Input gives an input's value without the white space around it. An empty one
// is as good as absent: it has its default.
func (e Env) Input(name string) string {
	if value := strings.TrimSpace(e.getenv(variable(name))); value != "" {
		return value
	}
	for _, in := range Inputs() {
		if in.Name == name && !strings.HasPrefix(in.Default, "${{") {
			return in.Default
		}
	}
	return ""
}

// Bool gives an input that is true or false, as YAML 1.2 writes them. The error
// names any other value.
func (e Env) Bool(name string) (bool, error) {
	switch value := e.Input(name); value {
	case "true", "True", "TRUE":
		return true, nil
	case "false", "False", "FALSE", "":
		return false, nil
	default:
		return false, fmt.Errorf("input %s: expected true or false, observed %q", name, value)
	}
}

// Flags gives the inputs as flags of the command line for a phase. The error
// names an input that the phase does not take: it was meant to do something.
func (e Env) Flags(p rollout.Phase) ([]string, error) {
	var flags []string
	for _, in := range Inputs() {
		value := e.Input(in.Name)
		if value == "" {
			continue
		}
		on := true
		if in.Boolean {
			var err error
			if on, err = e.Bool(in.Name); err != nil {
				return nil, err
			}
		}
		switch {
		case !on:
		case in.For != nil && !slices.Contains(in.For, p):
			return nil, fmt.Errorf("input %s: phase %s does not take it, only %s", in.Name, p, strings.Join(namesOf(in.For), ", "))
		case in.Flag == "":
		case in.Boolean:
			flags = append(flags, "--"+in.Flag)
		default:
			flags = append(flags, "--"+in.Flag+"="+value)
		}
	}
	return flags, nil
}

// Unknown gives a warning for each input that was given and is not one of the
// action's. environ is as os.Environ gives it.
func Unknown(environ []string) []string {
	var names []string
	known := map[string]bool{}
	for _, in := range Inputs() {
		names = append(names, in.Name)
		known[variable(in.Name)] = true
	}
	var warnings []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, inputPrefix) || known[name] {
			continue
		}
		given := strings.ToLower(strings.TrimPrefix(name, inputPrefix))
		warning := fmt.Sprintf("input %q is not known and does nothing", given)
		if near := document.DidYouMean(given, names); near != "" {
			warning += ": " + near
		}
		warnings = append(warnings, warning)
	}
	slices.Sort(warnings)
	return warnings
}
