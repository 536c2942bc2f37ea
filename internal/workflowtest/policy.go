// Package workflowtest holds workflows against the rules that this project and
// its examples keep, beside what actionlint finds: those by which a workflow is
// taken over, or a rollback is kept waiting.
package workflowtest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// file is a workflow as far as the rules go.
type file struct {
	On          any
	Permissions any
	Concurrency any
	Jobs        map[string]struct {
		Uses        string
		Permissions any
		Concurrency any
		Environment any
		Secrets     any
		Steps       []struct {
			Uses string
			Run  string
			With map[string]any
		}
	}
}

var (
	pinned = regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40}$`)
	// untrusted are the contexts that whoever opens a pull request, comments or
	// names a branch can write to, and what may have come from them.
	untrusted = regexp.MustCompile(`\$\{\{[^}]*\b(github\.(event|head_ref|ref|ref_name)\b|inputs\.|steps\.|needs\.)`)
)

// own is this project's action. Its release is what a reader of an example has
// to choose, so there it stands for its ref.
const own = "gapless-deploy/gapless@"

// Faults gives what a workflow does against the rules, in no more than a line
// each. Those of its jobs that may write what forPhase does not name need an
// entry in more: "JOB SCOPE".
func Faults(text []byte, more ...string) []string {
	var f file
	if err := yaml.Unmarshal(text, &f); err != nil {
		return []string{err.Error()}
	}
	var faults []string
	if strings.Contains(fmt.Sprint(f.On), "pull_request_target") {
		faults = append(faults, "pull_request_target runs a fork's pull request with our secrets")
	}
	if m, ok := f.Permissions.(map[string]any); !ok || len(m) > 0 {
		faults = append(faults, "permissions: {} is missing at the top: a job that names none gets them all")
	}
	waits := false
	for name, j := range f.Jobs {
		waits = waits || j.Environment != nil
		faults = append(faults, permitted(name, j.Permissions, more)...)
		if j.Environment != nil && j.Concurrency != nil {
			faults = append(faults, name+": waits for an approval and holds a concurrency group meanwhile")
		}
		if j.Secrets == "inherit" {
			faults = append(faults, name+": hands on all secrets")
		}
		faults = append(faults, uses(name, j.Uses)...)
		for _, s := range j.Steps {
			faults = append(faults, uses(name, s.Uses)...)
			if strings.HasPrefix(s.Uses, "actions/checkout@") && s.With["persist-credentials"] != false {
				faults = append(faults, name+": checkout leaves the token behind, persist-credentials: false is missing")
			}
			if untrusted.MatchString(s.Run) {
				faults = append(faults, fmt.Sprintf("%s: %q: a text that others write becomes a part of the script, pass it by env", name, s.Run))
			}
		}
	}
	if waits && f.Concurrency != nil {
		faults = append(faults, "a job waits for an approval, and the run holds a concurrency group meanwhile")
	}
	slices.Sort(faults)
	return faults
}

// permitted checks that a job says what it may, and no more than a phase needs.
func permitted(name string, permissions any, more []string) []string {
	m, ok := permissions.(map[string]any)
	if !ok {
		return []string{name + ": says nothing of its permissions"}
	}
	var faults []string
	for scope, access := range m {
		forPhase := scope == "pull-requests" || scope == "id-token"
		if access == "write" && !forPhase && !slices.Contains(more, name+" "+scope) {
			faults = append(faults, fmt.Sprintf("%s: may write %s", name, scope))
		}
	}
	return faults
}

func uses(name, ref string) []string {
	if ref == "" || strings.HasPrefix(ref, "./") || strings.HasPrefix(ref, own) || pinned.MatchString(ref) {
		return nil
	}
	return []string{fmt.Sprintf("%s: %s is not pinned by the hash of its commit", name, ref)}
}
