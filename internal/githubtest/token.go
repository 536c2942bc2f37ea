package githubtest

import (
	"net/http"
	"strings"
)

// Scope is a permission of a token, as "permissions:" of a workflow names it.
type Scope string

// Access is how far a permission goes.
type Access string

// The permissions that the fake asks for.
const (
	Contents     Scope = "contents"
	Actions      Scope = "actions"
	PullRequests Scope = "pull-requests"
	Issues       Scope = "issues"
	Deployments  Scope = "deployments"
	IDToken      Scope = "id-token"

	None  Access = "none"
	Read  Access = "read"
	Write Access = "write"
)

// Permissions are those of a job. What is not named is none.
type Permissions map[Scope]Access

func (p Permissions) allow(n need) bool {
	return p[n.scope] == Write || n.level == Read && p[n.scope] == Read
}

// token is what a request to the REST API is authorised by: a job's, or a
// person's.
type token struct {
	job   *Job
	owner *user // of a personal token
}

// PersonalToken returns a token of a person, which may do what they may as a
// collaborator.
func (s *Server) PersonalToken(login string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	value := newSecret("ghp_")
	s.tokens[value] = &token{owner: s.user(login)}
	return value
}

func (c *call) authenticate() (*token, *answer) {
	value := c.request.Header.Get("Authorization")
	scheme, value, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "bearer") && !strings.EqualFold(scheme, "token") {
		refused := failed(http.StatusUnauthorized, "Requires authentication")
		return nil, &refused
	}
	t := c.tokens[value]
	if t == nil || t.job != nil && !t.job.running() {
		refused := failed(http.StatusUnauthorized, "Bad credentials")
		return nil, &refused
	}
	return t, nil
}

// sees says whether a repository exists for who asks.
func (t *token) sees(r *Repository) bool {
	if !r.private {
		return true
	}
	if t.job != nil {
		return t.job.run.repo == r
	}
	return r.permission(t.owner) != NoPermission
}

// permit refuses what the token may not do. Also of a public repository a
// permission to read is asked for, as GitHub does of private ones.
func (t *token) permit(r *Repository, needs []need) *answer {
	if len(needs) == 0 {
		return nil
	}
	var accepted []string
	for _, n := range needs {
		accepted = append(accepted, strings.ReplaceAll(string(n.scope), "-", "_")+"="+string(n.level))
		if t.job != nil && t.job.run.repo == r && t.job.permissions.allow(n) {
			return nil
		}
		if t.job == nil && r.permission(t.owner).allows(n.level) {
			return nil
		}
	}
	message := "Resource not accessible by integration"
	if t.job == nil {
		message = "Resource not accessible by personal access token"
	}
	refused := failed(http.StatusForbidden, message)
	refused.header = map[string]string{"X-Accepted-GitHub-Permissions": strings.Join(accepted, "; ")}
	return &refused
}

// actor is who acts by the token.
func (c *call) actor() *user {
	if c.token.job != nil {
		return c.users[botLogin]
	}
	return c.token.owner
}
