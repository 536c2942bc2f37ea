package githubtest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxComment is how many characters a comment may have.
const maxComment = 65536

// Comment is a comment on an issue or a pull request.
type Comment struct {
	// ID is as in the REST API; Number is that of the issue.
	ID     int64
	Number int

	repo      *Repository
	author    *user
	body      string
	created   time.Time
	updated   time.Time
	reactions []reaction
}

type reaction struct {
	id      int64
	user    *user
	content string
	created time.Time
}

// Issue opens an issue that is no pull request and returns its number.
func (r *Repository) Issue() int {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.issues++
	return r.issues
}

// Comment adds a comment of a person.
func (r *Repository) Comment(number int, login, body string) *Comment {
	r.s.tb.Helper()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if number < 1 || number > r.issues {
		r.s.tb.Fatalf("githubtest: %s has no issue %d", r.FullName(), number)
	}
	return r.comment(number, r.s.user(login), body)
}

func (r *Repository) comment(number int, by *user, body string) *Comment {
	c := &Comment{ID: r.s.newID(), Number: number, repo: r, author: by, body: body, created: r.s.now(), updated: r.s.now()}
	r.comments = append(r.comments, c)
	return c
}

// Comments returns those of an issue or pull request, oldest first.
func (r *Repository) Comments(number int) []*Comment {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.commentsOf(number)
}

func (r *Repository) commentsOf(number int) []*Comment {
	var of []*Comment
	for _, c := range r.comments {
		if c.Number == number {
			of = append(of, c)
		}
	}
	return of
}

// Body is what the comment says now.
func (c *Comment) Body() string {
	c.repo.s.mu.Lock()
	defer c.repo.s.mu.Unlock()
	return c.body
}

// Author is the login of who wrote it.
func (c *Comment) Author() string { return c.author.login }

// Edit changes what it says, a second or more after it was made.
func (c *Comment) Edit(body string) {
	c.repo.s.mu.Lock()
	defer c.repo.s.mu.Unlock()
	c.edit(body)
}

func (c *Comment) edit(body string) {
	c.body = body
	if c.updated = c.repo.s.now(); !c.updated.Truncate(time.Second).After(c.created.Truncate(time.Second)) {
		c.updated = c.created.Add(time.Second) // dates are in seconds, and tests are faster
	}
}

// Reactions returns its reactions, such as "+1", by the login of who gave them.
func (c *Comment) Reactions() map[string][]string {
	c.repo.s.mu.Lock()
	defer c.repo.s.mu.Unlock()
	all := map[string][]string{}
	for _, r := range c.reactions {
		all[r.user.login] = append(all[r.user.login], r.content)
	}
	return all
}

func (c *Comment) url() string { return fmt.Sprintf("%s/issues/comments/%d", c.repo.url(), c.ID) }

func (c *Comment) issuePage() string {
	if c.repo.pulls[c.Number] != nil {
		return fmt.Sprintf("%s/pull/%d", c.repo.htmlURL(), c.Number)
	}
	return fmt.Sprintf("%s/issues/%d", c.repo.htmlURL(), c.Number)
}

func (c *Comment) view() object {
	return object{
		"id": c.ID, "node_id": "IC", "body": c.body, "user": c.repo.s.userView(c.author), "url": c.url(),
		"html_url":  fmt.Sprintf("%s#issuecomment-%d", c.issuePage(), c.ID),
		"issue_url": fmt.Sprintf("%s/issues/%d", c.repo.url(), c.Number), "author_association": c.repo.association(c.author),
		"created_at": c.created.Format(time.RFC3339), "updated_at": c.updated.Format(time.RFC3339),
	}
}

func (c *Comment) reactionView(r reaction) object {
	return object{"id": r.id, "node_id": "RE", "user": c.repo.s.userView(r.user), "content": r.content, "created_at": r.created}
}

func commentOperations() map[string]*operation {
	all := reactionOperations()
	maps.Copy(all, map[string]*operation{
		"GET /repos/{owner}/{repo}/issues/{issue_number}/comments":  {needs: onIssues(Read), serve: listComments},
		"POST /repos/{owner}/{repo}/issues/{issue_number}/comments": {needs: onIssues(Write), serve: createComment},
		"GET /repos/{owner}/{repo}/issues/comments/{comment_id}": ofComment(Read, func(_ *call, of *Comment) answer {
			return ok(of.view())
		}),
		"PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}": ofComment(Write, func(c *call, of *Comment) answer {
			body, refused := c.text("body")
			if refused != nil {
				return *refused
			}
			if c.token.job != nil && of.author != c.actor() {
				return failed(http.StatusForbidden, "Unable to edit this comment")
			}
			of.edit(body)
			return ok(of.view())
		}),
		"DELETE /repos/{owner}/{repo}/issues/comments/{comment_id}": ofComment(Write, func(c *call, of *Comment) answer {
			c.repo.comments = slices.DeleteFunc(c.repo.comments, func(other *Comment) bool { return other == of })
			return answer{status: http.StatusNoContent}
		}),
	})
	return all
}

func reactionOperations() map[string]*operation {
	return map[string]*operation{
		"GET /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions": ofComment(Read, func(c *call, of *Comment) answer {
			given := slices.Clone(of.reactions)
			if content := c.request.URL.Query().Get("content"); content != "" {
				given = slices.DeleteFunc(given, func(r reaction) bool { return r.content != content })
			}
			return paged(c, given, list(of.reactionView))
		}),
		"POST /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions": ofComment(Write, func(c *call, of *Comment) answer {
			content, refused := c.text("content")
			if refused != nil {
				return *refused
			}
			for _, r := range of.reactions {
				if r.user == c.actor() && r.content == content {
					return ok(of.reactionView(r))
				}
			}
			r := reaction{c.newID(), c.actor(), content, c.now()}
			of.reactions = append(of.reactions, r)
			return answer{status: http.StatusCreated, body: of.reactionView(r)}
		}),
	}
}

// onIssues is what comments need: those on pull requests are both.
func onIssues(level Access) []need { return []need{{Issues, level}, {PullRequests, level}} }

func ofComment(level Access, serve func(*call, *Comment) answer) *operation {
	return &operation{needs: onIssues(level), serve: func(c *call) answer {
		id, err := strconv.ParseInt(c.params["comment_id"], 10, 64)
		i := slices.IndexFunc(c.repo.comments, func(of *Comment) bool { return of.ID == id })
		if err != nil || i < 0 {
			return notFound()
		}
		of := c.repo.comments[i]
		if refused := c.onPull(of.Number, level); refused != nil {
			return *refused
		}
		return serve(c, of)
	}}
}

// onPull refuses what the token may do on pull requests but not on issues.
func (c *call) onPull(issue int, level Access) *answer {
	if c.repo.pulls[issue] != nil {
		return nil
	}
	return c.token.permit(c.repo, []need{{Issues, level}})
}

// issue returns the number of an issue that the path names.
func (c *call) issue() (int, bool) {
	n, err := strconv.Atoi(c.params["issue_number"])
	return n, err == nil && n >= 1 && n <= c.repo.issues
}

func listComments(c *call) answer {
	n, found := c.issue()
	if !found {
		return notFound()
	}
	if refused := c.onPull(n, Read); refused != nil {
		return *refused
	}
	of := c.repo.commentsOf(n)
	if since, err := time.Parse(time.RFC3339, c.request.URL.Query().Get("since")); err == nil {
		of = slices.DeleteFunc(of, func(one *Comment) bool { return one.updated.Before(since) })
	}
	return paged(c, of, list((*Comment).view))
}

func createComment(c *call) answer {
	n, found := c.issue()
	if !found {
		return notFound()
	}
	if refused := c.onPull(n, Write); refused != nil {
		return *refused
	}
	body, refused := c.text("body")
	if refused != nil {
		return *refused
	}
	made := c.repo.comment(n, c.actor(), body)
	return answer{status: http.StatusCreated, body: made.view(), header: map[string]string{"Location": made.url()}}
}

// text returns a text of the body, which must not be empty nor too long.
func (c *call) text(name string) (string, *answer) {
	value, _ := c.body[name].(string)
	if value == "" || utf8.RuneCountInString(value) > maxComment {
		message := "Validation Failed: " + name + " is too long (maximum is 65536 characters)"
		if value == "" {
			message = "Validation Failed: " + name + " can't be blank"
		}
		refused := failed(http.StatusUnprocessableEntity, message)
		return "", &refused
	}
	return value, nil
}
