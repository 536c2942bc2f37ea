package githubtest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"
)

// PullRequestSpec is a pull request as it is opened.
type PullRequestSpec struct {
	// Branch is the head's, in Head, which is the repository itself when nil.
	Branch string
	Head   *Repository
	// Author is the repository's owner when empty.
	Author string
	Title  string
	Draft  bool
}

// PullRequest is a pull request. Comments stand on its issue.
type PullRequest struct {
	// Number is as in "#12".
	Number int

	id       int64
	repo     *Repository
	head     *Repository
	branch   string
	headSHA  string
	commits  []string
	testSHA  string // of refs/pull/N/merge
	base     string
	baseSHA  string
	author   *user
	title    string
	draft    bool
	mergeSHA string
	created  time.Time
	merged   time.Time
	mergedBy *user
}

// PullRequest opens one against the default branch, from a branch with a new
// commit.
func (r *Repository) PullRequest(spec PullRequestSpec) *PullRequest {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.issues++
	p := &PullRequest{
		Number: r.issues, id: r.s.newID(), repo: r, head: cmp.Or(spec.Head, r), branch: cmp.Or(spec.Branch, "change"),
		base: r.DefaultBranch, baseSHA: r.branches[r.DefaultBranch], author: r.s.user(cmp.Or(spec.Author, r.Owner)),
		title: cmp.Or(spec.Title, "A change"), draft: spec.Draft, created: r.s.now(),
	}
	p.push()
	r.pulls[p.Number] = p
	return p
}

// Push adds a commit to the pull request's head and returns its SHA.
func (p *PullRequest) Push() string {
	p.repo.s.mu.Lock()
	defer p.repo.s.mu.Unlock()
	p.push()
	return p.headSHA
}

func (p *PullRequest) push() {
	p.headSHA, p.testSHA = p.head.commit(p.branch), p.repo.s.newSHA()
	p.commits = append(p.commits, p.headSHA)
}

// HeadSHA is the SHA of its head's newest commit.
func (p *PullRequest) HeadSHA() string {
	p.repo.s.mu.Lock()
	defer p.repo.s.mu.Unlock()
	return p.headSHA
}

// Merge merges it, which makes a commit on the default branch, and returns
// that commit's SHA: merge_commit_sha.
func (p *PullRequest) Merge(by string) string {
	p.repo.s.mu.Lock()
	defer p.repo.s.mu.Unlock()
	p.mergeSHA = p.repo.commit(p.base)
	p.merged, p.mergedBy = p.repo.s.now(), p.repo.s.user(by)
	return p.mergeSHA
}

func (p *PullRequest) url() string { return fmt.Sprintf("%s/pulls/%d", p.repo.url(), p.Number) }

func (p *PullRequest) htmlURL() string {
	return fmt.Sprintf("%s/pull/%d", p.repo.htmlURL(), p.Number)
}

func (p *PullRequest) issueURL() string { return fmt.Sprintf("%s/issues/%d", p.repo.url(), p.Number) }

func (p *PullRequest) view() object {
	view := object{
		"id": p.id, "number": p.Number, "state": "open", "title": p.title, "draft": p.draft, "locked": false,
		"user": p.repo.s.userView(p.author), "author_association": p.repo.association(p.author),
		"url": p.url(), "html_url": p.htmlURL(), "issue_url": p.issueURL(),
		"created_at": p.created, "updated_at": p.created, "closed_at": nil, "merged_at": nil,
		"merge_commit_sha": p.testSHA, "merged": false, "mergeable": true, "mergeable_state": "clean", "merged_by": nil,
		"head": p.side(p.head, p.branch, p.headSHA), "base": p.side(p.repo, p.base, p.baseSHA), "body": nil,
		"commits": 1, "changed_files": 1,
	}
	if p.mergeSHA != "" {
		view["state"], view["merged"], view["mergeable"], view["mergeable_state"] = "closed", true, nil, "unknown"
		view["closed_at"], view["merged_at"], view["merged_by"] = p.merged, p.merged, p.repo.s.userView(p.mergedBy)
		view["merge_commit_sha"] = p.mergeSHA
	}
	return view
}

func (p *PullRequest) side(repo *Repository, branch, sha string) object {
	return object{"label": repo.Owner + ":" + branch, "ref": branch, "sha": sha,
		"repo": repo.view(), "user": repo.s.userView(repo.s.user(repo.Owner))}
}

func (r *Repository) association(u *user) string {
	switch {
	case u.login == r.Owner:
		return "OWNER"
	case r.collaborators[u.login] != "" && r.collaborators[u.login] != NoPermission:
		return "COLLABORATOR"
	}
	return "NONE"
}

// pullsOf returns the pull request that brought a commit to the default
// branch, or else those that have the commit.
func (r *Repository) pullsOf(sha string) []*PullRequest {
	var having []*PullRequest
	for _, number := range slices.Sorted(maps.Keys(r.pulls)) {
		p := r.pulls[number]
		if p.mergeSHA == sha {
			return []*PullRequest{p}
		}
		if slices.Contains(p.commits, sha) {
			having = append(having, p)
		}
	}
	return having
}

func pullOperations() map[string]*operation {
	return map[string]*operation{
		"GET /repos/{owner}/{repo}/pulls/{pull_number}": {needs: []need{{PullRequests, Read}}, serve: func(c *call) answer {
			number, err := strconv.Atoi(c.params["pull_number"])
			if err != nil || c.repo.pulls[number] == nil {
				return notFound()
			}
			return ok(c.repo.pulls[number].view())
		}},
		"GET /repos/{owner}/{repo}/commits/{commit_sha}/pulls": {
			needs: []need{{PullRequests, Read}, {Contents, Read}}, serve: func(c *call) answer {
				return paged(c, c.repo.pullsOf(c.params["commit_sha"]), list(func(p *PullRequest) object {
					view := p.view()
					for _, only := range []string{"merged", "mergeable", "mergeable_state", "merged_by", "commits", "changed_files"} {
						delete(view, only) // a list has the short form
					}
					return view
				}))
			}},
	}
}
