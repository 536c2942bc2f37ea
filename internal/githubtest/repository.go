package githubtest

import (
	"net/http"
	"strings"
)

const (
	// botLogin is who acts by a job's token.
	botLogin = "github-actions[bot]"
	botID    = 41898282
)

// Permission is what a collaborator may do.
type Permission string

// The permissions of collaborators, as the REST API names roles.
const (
	NoPermission Permission = "none"
	CanRead      Permission = "read"
	CanTriage    Permission = "triage"
	CanWrite     Permission = "write"
	CanMaintain  Permission = "maintain"
	CanAdmin     Permission = "admin"
)

// base returns what the REST API calls the permission, beside the role.
func (p Permission) base() Permission {
	switch p {
	case CanTriage:
		return CanRead
	case CanMaintain:
		return CanWrite
	default:
		return p
	}
}

func (p Permission) allows(level Access) bool {
	base := p.base()
	return base == CanAdmin || base == CanWrite || base == CanRead && level == Read
}

type user struct {
	login string
	id    int64
	kind  string // User or Bot
}

// Repository is a repository of the fake.
type Repository struct {
	// Owner and Name are as in "Owner/Name".
	Owner, Name string
	// ID and OwnerID stay when names change.
	ID, OwnerID int64
	// DefaultBranch is usually main.
	DefaultBranch string

	s              *Server
	private        bool
	subjectWithIDs bool
	retention      int // days
	parent         *Repository
	protected      map[string]bool
	branches       map[string]string // name: sha of its head
	collaborators  map[string]Permission
	environments   map[string]*Environment
	pulls          map[int]*PullRequest
	issues         int // the last number
	comments       []*Comment
	deployments    []*Deployment
	workflows      map[string]*workflow // by file
}

type workflow struct {
	id   int64
	runs int // so far
}

// RepositoryOption changes what Server.Repository makes.
type RepositoryOption func(*Repository)

// Private makes it visible to its own tokens only.
func Private() RepositoryOption { return func(r *Repository) { r.private = true } }

// ForkOf makes it a fork.
func ForkOf(parent *Repository) RepositoryOption { return func(r *Repository) { r.parent = parent } }

// DefaultBranch names the default branch.
func DefaultBranch(name string) RepositoryOption {
	return func(r *Repository) { r.DefaultBranch = name }
}

// Protected marks branches as protected.
func Protected(branches ...string) RepositoryOption {
	return func(r *Repository) {
		for _, branch := range branches {
			r.protected[branch] = true
		}
	}
}

// Retention says how many days artifacts are kept; usually 90.
func Retention(days int) RepositoryOption { return func(r *Repository) { r.retention = days } }

// SubjectWithIDs makes subjects of ID tokens name owner and repository with
// their ids, "repo:owner@1/name@2:...", as those of newer repositories do.
func SubjectWithIDs() RepositoryOption { return func(r *Repository) { r.subjectWithIDs = true } }

// Repository makes a repository, "owner/name", with one commit on its default
// branch.
func (s *Server) Repository(fullName string, options ...RepositoryOption) *Repository {
	s.tb.Helper()
	owner, name, found := strings.Cut(fullName, "/")
	if !found {
		s.tb.Fatalf("githubtest: repository %q is not owner/name", fullName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Repository{
		Owner: owner, Name: name, ID: s.newID(), OwnerID: s.user(owner).id, DefaultBranch: "main",
		s: s, retention: 90, protected: map[string]bool{}, branches: map[string]string{},
		collaborators: map[string]Permission{owner: CanAdmin}, environments: map[string]*Environment{},
		pulls: map[int]*PullRequest{}, workflows: map[string]*workflow{},
	}
	for _, option := range options {
		option(r)
	}
	r.branches[r.DefaultBranch] = s.newSHA()
	s.repositories[strings.ToLower(fullName)] = r
	return r
}

// FullName is "owner/name".
func (r *Repository) FullName() string { return r.Owner + "/" + r.Name }

// Collaborator gives a person a permission; who has none given can read a
// public repository.
func (r *Repository) Collaborator(login string, permission Permission) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.user(login)
	r.collaborators[login] = permission
}

// Commit adds a commit to a branch, which is made where there is none, and
// returns its SHA.
func (r *Repository) Commit(branch string) string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.commit(branch)
}

func (r *Repository) commit(branch string) string {
	r.branches[branch] = r.s.newSHA()
	return r.branches[branch]
}

// Head returns the SHA of a branch's newest commit, empty where there is no
// such branch.
func (r *Repository) Head(branch string) string {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.branches[branch]
}

// UserID returns the id of a person.
func (s *Server) UserID(login string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user(login).id
}

// user returns a user, who is made when first named.
func (s *Server) user(login string) *user {
	u := s.users[login]
	if u == nil {
		u = &user{login: login, id: s.newID(), kind: "User"}
		s.users[login] = u
	}
	return u
}

func (r *Repository) permission(u *user) Permission {
	if given, ok := r.collaborators[u.login]; ok {
		return given
	}
	if r.private {
		return NoPermission
	}
	return CanRead
}

func (r *Repository) visibility() string {
	if r.private {
		return "private"
	}
	return "public"
}

func (r *Repository) url() string { return r.s.APIURL() + "/repos/" + r.FullName() }

func (r *Repository) htmlURL() string { return r.s.ServerURL() + "/" + r.FullName() }

func (s *Server) userView(u *user) object {
	return object{"login": u.login, "id": u.id, "type": u.kind, "site_admin": false, "node_id": "U", "user_view_type": "public",
		"url": s.APIURL() + "/users/" + u.login, "html_url": s.ServerURL() + "/" + u.login}
}

func (r *Repository) view() object {
	view := object{
		"id": r.ID, "name": r.Name, "full_name": r.FullName(), "private": r.private, "fork": r.parent != nil,
		"owner": r.s.userView(r.s.user(r.Owner)), "default_branch": r.DefaultBranch, "visibility": r.visibility(),
		"url": r.url(), "html_url": r.htmlURL(),
	}
	if r.parent != nil {
		view["parent"] = r.parent.view()
		view["source"] = r.parent.view()
	}
	return view
}

func repositoryOperations() map[string]*operation {
	return map[string]*operation{
		"GET /repos/{owner}/{repo}": {serve: func(c *call) answer { return ok(c.repo.view()) }},
		"GET /repos/{owner}/{repo}/collaborators/{username}/permission": {serve: func(c *call) answer {
			u := c.users[c.params["username"]]
			if u == nil {
				return notFound()
			}
			granted := c.repo.permission(u)
			return ok(object{"permission": granted.base(), "role_name": granted, "user": c.userView(u)})
		}},
		"GET /users/{username}": {serve: func(c *call) answer {
			u := c.users[c.params["username"]]
			if u == nil {
				return notFound()
			}
			return ok(c.userView(u))
		}},
		"GET /user": {serve: func(c *call) answer {
			if c.token.job != nil { // an installation of an app is no user
				return failed(http.StatusForbidden, "Resource not accessible by integration")
			}
			return ok(c.userView(c.token.owner))
		}},
	}
}
