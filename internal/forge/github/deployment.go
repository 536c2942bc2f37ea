package github

import (
	"context"
	"net/http"
	"sync"

	"github.com/google/go-github/v90/github"
)

// DeploymentState is one that GitHub shows of a deployment.
type DeploymentState string

// The states that a phase tells.
const (
	DeploymentInProgress DeploymentState = "in_progress"
	DeploymentSuccess    DeploymentState = "success"
	DeploymentFailure    DeploymentState = "failure"
)

// maxDescription is how many characters of a description GitHub takes.
const maxDescription = 140

// Deployment is what GitHub made when a job with an environment started.
type Deployment struct {
	client           *Client
	environment, sha string

	mu     sync.Mutex
	id     int64
	told   string
	silent bool
}

// Deployment gives that of a job in an environment; sha is GITHUB_SHA.
func (c *Client) Deployment(environment, sha string) *Deployment {
	return &Deployment{client: c, environment: environment, sha: sha}
}

// Tell sets the state, with a line of what is in force and where it can be
// seen. It is a courtesy: what fails is warned of once, and never fails a
// phase. The same is not told twice in a row.
func (d *Deployment) Tell(ctx context.Context, state DeploymentState, description, url string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	description = clipped(description, maxDescription)
	what := string(state) + "\x00" + description + "\x00" + url
	if d.silent || d.environment == "" || what == d.told {
		return
	}
	if err := d.tell(ctx, state, description, url); err != nil {
		d.silent = true
		d.client.warn("the deployment's status is not shown: " + err.Error())
		return
	}
	d.told = what
}

func (d *Deployment) tell(ctx context.Context, state DeploymentState, description, url string) error {
	if d.id == 0 {
		list, _, err := d.client.api.Repositories.ListDeployments(ctx, d.client.owner, d.client.name, &github.DeploymentsListOptions{
			SHA: d.sha, Environment: d.environment, ListOptions: github.ListOptions{PerPage: 1},
		})
		if err != nil {
			return asked(err, "deployments: write", "find the deployment to %s", d.environment)
		}
		if len(list) == 0 {
			return fault("", "there is no deployment of %s to %s whose status could be told", short(d.sha), d.environment)
		}
		d.id = list[0].GetID() // the newest
	}
	request := github.DeploymentStatusRequest{State: string(state), Description: &description}
	if url != "" {
		request.EnvironmentURL = &url
	}
	_, _, err := d.client.api.Repositories.CreateDeploymentStatus(ctx, d.client.owner, d.client.name, d.id, request)
	if status(err) == http.StatusNotFound {
		d.id = 0
	}
	if err != nil {
		return asked(err, "deployments: write", "tell the status of the deployment to %s", d.environment)
	}
	return nil
}

func clipped(s string, most int) string {
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}
