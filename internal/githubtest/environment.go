package githubtest

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// BranchPolicy says which branches may deploy to an environment.
type BranchPolicy string

// The policies of branches.
const (
	AnyBranch         BranchPolicy = ""
	ProtectedBranches BranchPolicy = "protected"
	CustomBranches    BranchPolicy = "custom"
)

// Protection is the protection of an environment. The zero value is none, but
// that administrators may not bypass it.
type Protection struct {
	// Reviewers are the people of whom one must approve a job.
	Reviewers []string
	// PreventSelfReview refuses the approval of who started the run.
	PreventSelfReview bool
	// Wait is how long a job waits.
	Wait time.Duration
	// Branches says which branches may deploy; Patterns are those of
	// CustomBranches, such as "main" or "release/*".
	Branches BranchPolicy
	Patterns []string
	// AdminsBypass lets administrators start a waiting job.
	AdminsBypass bool
}

// Environment is an environment of a repository.
type Environment struct {
	// ID and Name are as in the REST API.
	ID   int64
	Name string

	repo              *Repository
	created           time.Time
	reviewers         []*user
	preventSelfReview bool
	wait              time.Duration
	branches          BranchPolicy
	patterns          []branchPattern
	adminsBypass      bool
}

type branchPattern struct {
	id   int64
	name string
}

// Environment makes an environment, or sets the protection of one that is
// there. One that nobody made, and no job named, is absent.
func (r *Repository) Environment(name string, p Protection) *Environment {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	e := r.environment(name)
	e.reviewers, e.patterns = nil, nil
	for _, login := range p.Reviewers {
		e.reviewers = append(e.reviewers, r.s.user(login))
	}
	for _, pattern := range p.Patterns {
		e.patterns = append(e.patterns, branchPattern{r.s.newID(), pattern})
	}
	e.preventSelfReview, e.wait, e.branches, e.adminsBypass = p.PreventSelfReview, p.Wait, p.Branches, p.AdminsBypass
	return e
}

// environment returns one that is made when first named.
func (r *Repository) environment(name string) *Environment {
	key := strings.ToLower(name) // GitHub's are not case-sensitive
	if r.environments[key] == nil {
		r.environments[key] = &Environment{ID: r.s.newID(), Name: name, repo: r, created: r.s.now(), adminsBypass: true}
	}
	return r.environments[key]
}

// Delete removes the environment.
func (e *Environment) Delete() {
	e.repo.s.mu.Lock()
	defer e.repo.s.mu.Unlock()
	delete(e.repo.environments, strings.ToLower(e.Name))
}

// takes says whether a run may deploy to it.
func (e *Environment) takes(run *Run) bool {
	branch, isBranch := strings.CutPrefix(run.ref, "refs/heads/")
	switch e.branches {
	case ProtectedBranches:
		return isBranch && e.repo.protected[branch]
	case CustomBranches:
		return slices.ContainsFunc(e.patterns, func(p branchPattern) bool {
			// Of what is no branch the pattern is the whole ref, "refs/pull/*/merge".
			fits, err := path.Match(p.name, branch)
			return err == nil && fits
		})
	default:
		return true
	}
}

// Approve approves the waiting jobs of an environment, as one of its reviewers
// does in the run's page.
func (run *Run) Approve(environment, login string) {
	run.s.tb.Helper()
	run.review(environment, login, "approved")
}

// Reject refuses them: they fail.
func (run *Run) Reject(environment, login string) {
	run.s.tb.Helper()
	run.review(environment, login, "rejected")
}

func (run *Run) review(environment, login, state string) {
	s := run.s
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := run.repo.environments[strings.ToLower(environment)]
	if e == nil || !slices.Contains(e.reviewers, s.user(login)) {
		s.tb.Fatalf("githubtest: %s is no reviewer of environment %s", login, environment)
	}
	if e.preventSelfReview && (run.spec.Actor == login || run.triggeredBy == login) {
		s.tb.Fatalf("githubtest: environment %s prevents that %s reviews their own run", environment, login)
	}
	found := false
	for _, job := range run.jobs {
		if job.environment == e && !job.approved && job.conclusion == "" {
			found = true
			if job.approved = state == "approved"; !job.approved {
				job.complete("failure")
			} else {
				job.tellDeployment(job.status())
			}
		}
	}
	if !found {
		s.tb.Fatalf("githubtest: no job of run %d waits for environment %s", run.ID, environment)
	}
	run.approvals = append(run.approvals, approval{e, s.user(login), state, ""})
}

func (e *Environment) view() object {
	rules := []object{}
	if e.wait > 0 {
		rules = append(rules, object{"id": e.ID + 1, "node_id": "GA", "type": "wait_timer", "wait_timer": int(e.wait.Minutes())})
	}
	if len(e.reviewers) > 0 {
		rules = append(rules, object{"id": e.ID + 2, "node_id": "GA", "type": "required_reviewers",
			"prevent_self_review": e.preventSelfReview, "reviewers": e.reviewersView()})
	}
	var policy any
	if e.branches != AnyBranch {
		rules = append(rules, object{"id": e.ID + 3, "node_id": "GA", "type": "branch_policy"})
		policy = object{"protected_branches": e.branches == ProtectedBranches, "custom_branch_policies": e.branches == CustomBranches}
	}
	return object{
		"id": e.ID, "node_id": "EN", "name": e.Name, "url": e.url(), "html_url": e.htmlURL(),
		"created_at": e.created, "updated_at": e.created, "can_admins_bypass": e.adminsBypass,
		"protection_rules": rules, "deployment_branch_policy": policy,
	}
}

func (e *Environment) reviewersView() []object {
	return views(e.reviewers, func(u *user) object {
		return object{"type": "User", "reviewer": e.repo.s.userView(u)}
	})
}

func (e *Environment) url() string { return e.repo.url() + "/environments/" + url.PathEscape(e.Name) }

func (e *Environment) htmlURL() string {
	return e.repo.htmlURL() + "/deployments/activity_log?environments_filter=" + url.QueryEscape(e.Name)
}

func (run *Run) approvalView(a approval) object {
	e := a.environment
	return object{"state": a.state, "comment": a.comment, "user": run.s.userView(a.user),
		"environments": []object{{"id": e.ID, "node_id": "EN", "name": e.Name, "url": e.url(), "html_url": e.htmlURL(),
			"created_at": e.created, "updated_at": e.created}}}
}

// pendingView is the environments that jobs of the run wait for.
func (run *Run) pendingView(c *call) []object {
	pending := []object{}
	seen := map[*Environment]bool{}
	for _, job := range run.jobs {
		e := job.environment
		if job.status() != waitingStatus || seen[e] {
			continue
		}
		seen[e] = true
		pending = append(pending, object{
			"environment": object{"id": e.ID, "node_id": "EN", "name": e.Name, "url": e.url(), "html_url": e.htmlURL()},
			"wait_timer":  int(e.wait.Minutes()), "wait_timer_started_at": job.created,
			"current_user_can_approve": slices.Contains(e.reviewers, c.actor()), "reviewers": e.reviewersView(),
		})
	}
	return pending
}

func environmentOperations() map[string]*operation {
	ofEnvironment := func(serve func(*call, *Environment) answer) *operation {
		return &operation{needs: []need{{Actions, Read}}, serve: func(c *call) answer {
			e := c.repo.environments[strings.ToLower(c.params["environment_name"])]
			if e == nil {
				return notFound()
			}
			return serve(c, e)
		}}
	}
	return map[string]*operation{
		"GET /repos/{owner}/{repo}/environments/{environment_name}": ofEnvironment(func(_ *call, e *Environment) answer {
			return ok(e.view())
		}),
		"GET /repos/{owner}/{repo}/environments/{environment_name}/deployment-branch-policies": ofEnvironment(
			func(c *call, e *Environment) answer {
				return paged(c, e.patterns, listOf("branch_policies", func(p branchPattern) object {
					return object{"id": p.id, "node_id": "GA", "name": p.name, "type": "branch"}
				}))
			}),
	}
}
