package artifact

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// workflows is where a repository's own workflows are.
const workflows = ".github/workflows/"

// settledAfter is how long after a run's end its artifacts are all listed.
const settledAfter = 5 * time.Minute

// run is what is looked at of another run.
type run struct {
	// refused says why its records are not taken; nil where they are.
	refused error
	// settled: it ended a while ago, so what is not listed will not be.
	settled bool
}

// events are those that run what is on a branch of the repository itself. A
// pull request's runs what the pull request brings.
func events() []string {
	return []string{
		"push", "workflow_dispatch", "schedule", "issue_comment", "repository_dispatch", "workflow_run", "release", "merge_group",
	}
}

// examine looks at another run once. The error wraps rollout.ErrNotFound where
// there is no such run.
func (s *Store) examine(ctx context.Context, id string) (run, error) {
	s.mu.Lock()
	known, ok := s.runs[id]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	found, err := s.rest.run(ctx, id)
	if err != nil {
		return run{}, err
	}
	if found == nil {
		return run{}, fmt.Errorf("%w: run %s of %s is gone", rollout.ErrNotFound, id, s.options.Repository)
	}
	known = run{
		refused: s.refuse(id, found),
		settled: found.GetStatus() == "completed" &&
			s.options.Clock.Now().Sub(found.GetUpdatedAt().Time) > settledAfter,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.runs[id] = known
	return known, nil
}

// refuse says why records of a run are not to be taken.
func (s *Store) refuse(id string, found *github.WorkflowRun) error {
	own := s.options.RepositoryID
	if got := found.GetRepository().GetID(); got != own {
		return fmt.Errorf("%w: run %s is of repository %d, allowed is %d (%s)", ErrUntrusted, id, got, own, s.options.Repository)
	}
	if got := found.GetHeadRepository().GetID(); got != own {
		return fmt.Errorf("%w: run %s is of what repository %d brought (a fork), allowed is %d (%s)",
			ErrUntrusted, id, got, own, s.options.Repository)
	}
	if got := found.GetEvent(); !slices.Contains(events(), got) {
		return fmt.Errorf("%w: run %s was started by %s, allowed are %s", ErrUntrusted, id, got, strings.Join(events(), ", "))
	}
	if got := found.GetHeadBranch(); !s.allows(got) {
		return fmt.Errorf("%w: run %s is of branch %q, allowed are %s", ErrUntrusted, id, got, strings.Join(s.branches(), ", "))
	}
	if got := found.GetPath(); !strings.HasPrefix(got, workflows) {
		return fmt.Errorf("%w: run %s is of workflow %q, allowed is one in %s", ErrUntrusted, id, got, workflows)
	}
	return nil
}

// branches are those from whose runs records are taken.
func (s *Store) branches() []string {
	return slices.Compact([]string{s.options.Branch, s.options.Ref})
}

func (s *Store) allows(branch string) bool { return slices.Contains(s.branches(), branch) }
