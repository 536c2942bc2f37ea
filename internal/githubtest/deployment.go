package githubtest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Deployment is a deployment to an environment: a job that names one makes it.
type Deployment struct {
	// ID is as in the REST API.
	ID int64
	// Environment, Ref and SHA are what is deployed where.
	Environment, Ref, SHA string

	repo     *Repository
	creator  *user
	created  time.Time
	statuses []deploymentStatus
}

type deploymentStatus struct {
	id      int64
	given   object // as it was sent
	creator *user
	created time.Time
}

func (r *Repository) deploy(sha, ref, environment string, by *user) *Deployment {
	d := &Deployment{ID: r.s.newID(), Environment: environment, Ref: ref, SHA: sha, repo: r, creator: by, created: r.s.now()}
	r.deployments = append(r.deployments, d)
	return d
}

// Deployments returns those to an environment, oldest first.
func (r *Repository) Deployments(environment string) []*Deployment {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	var of []*Deployment
	for _, d := range r.deployments {
		if d.Environment == environment {
			of = append(of, d)
		}
	}
	return of
}

// DeploymentStatus is a status as it was sent; GitHub itself sends those of a
// job that waits, runs and ends.
type DeploymentStatus struct{ State, Description, LogURL, EnvironmentURL string }

// Statuses returns its statuses, oldest first.
func (d *Deployment) Statuses() []DeploymentStatus {
	d.repo.s.mu.Lock()
	defer d.repo.s.mu.Unlock()
	var all []DeploymentStatus
	for _, status := range d.statuses {
		text := func(name string) string { value, _ := status.given[name].(string); return value }
		all = append(all, DeploymentStatus{text("state"), text("description"),
			cmp.Or(text("log_url"), text("target_url")), text("environment_url")})
	}
	return all
}

func (d *Deployment) url() string { return fmt.Sprintf("%s/deployments/%d", d.repo.url(), d.ID) }

func (d *Deployment) view() object {
	return object{
		"id": d.ID, "node_id": "DE", "sha": d.SHA, "ref": d.Ref, "task": "deploy", "payload": object{},
		"environment": d.Environment, "original_environment": d.Environment, "description": nil,
		"creator": d.repo.s.userView(d.creator), "created_at": d.created, "updated_at": d.created,
		"url": d.url(), "statuses_url": d.url() + "/statuses", "repository_url": d.repo.url(),
	}
}

func (d *Deployment) statusView(status deploymentStatus) object {
	view := object{
		"id": status.id, "node_id": "DES", "creator": d.repo.s.userView(status.creator), "description": "",
		"environment": d.Environment, "target_url": "", "created_at": status.created, "updated_at": status.created,
		"url": fmt.Sprintf("%s/statuses/%d", d.url(), status.id), "deployment_url": d.url(), "repository_url": d.repo.url(),
	}
	for name, value := range status.given {
		if name != "auto_inactive" {
			view[name] = value
		}
	}
	return view
}

func deploymentOperations() map[string]*operation {
	ofDeployment := func(level Access, serve func(*call, *Deployment) answer) *operation {
		return &operation{needs: []need{{Deployments, level}}, serve: func(c *call) answer {
			id, err := strconv.ParseInt(c.params["deployment_id"], 10, 64)
			i := slices.IndexFunc(c.repo.deployments, func(d *Deployment) bool { return d.ID == id })
			if err != nil || i < 0 {
				return notFound()
			}
			return serve(c, c.repo.deployments[i])
		}}
	}
	return map[string]*operation{
		"GET /repos/{owner}/{repo}/deployments": {needs: []need{{Deployments, Read}}, serve: listDeployments},
		"GET /repos/{owner}/{repo}/deployments/{deployment_id}": ofDeployment(Read, func(_ *call, d *Deployment) answer {
			return ok(d.view())
		}),
		"GET /repos/{owner}/{repo}/deployments/{deployment_id}/statuses": ofDeployment(Read, func(c *call, d *Deployment) answer {
			newest := slices.Clone(d.statuses)
			slices.Reverse(newest)
			return paged(c, newest, list(d.statusView))
		}),
		"POST /repos/{owner}/{repo}/deployments/{deployment_id}/statuses": ofDeployment(Write, func(c *call, d *Deployment) answer {
			status := deploymentStatus{c.newID(), c.body, c.actor(), c.now()}
			d.statuses = append(d.statuses, status)
			return answer{status: http.StatusCreated, body: d.statusView(status)}
		}),
	}
}

func listDeployments(c *call) answer {
	query := c.request.URL.Query()
	var of []*Deployment
	for _, d := range slices.Backward(c.repo.deployments) { // newest first
		fits := func(name, value string) bool { return query.Get(name) == "" || query.Get(name) == value }
		if fits("environment", d.Environment) && fits("sha", d.SHA) && fits("ref", d.Ref) && fits("task", "deploy") {
			of = append(of, d)
		}
	}
	return paged(c, of, list((*Deployment).view))
}
