// Package github is what a job asks of GitHub and tells there: whether a gate
// is open, what a comment commands, the rollout's comment on its pull request
// and the status of its deployment. It keeps nothing from run to run.
package github

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Clock is the time of the machine that the job runs on.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or earlier with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Options say which repository is asked, and by whom.
type Options struct {
	// API is GITHUB_API_URL; empty is that of github.com.
	API string
	// Repository is "owner/name".
	Repository string
	// Token is what is asked with, ${{ github.token }} as a rule.
	Token string
	HTTP  *http.Client
	Clock Clock
	// Warn is told what went wrong beside the phase's own work; nil is nobody.
	Warn func(string)
}

// Client speaks to the REST API of one repository.
type Client struct {
	api         *github.Client
	owner, name string
	// app is set where the token is an app's, as a job's own is: it belongs to
	// nobody who could be asked for.
	app   bool
	clock Clock
	warn  func(string)
}

// New gives a client. The error wraps rollout.ErrInput.
func New(o Options) (*Client, error) {
	owner, name, found := strings.Cut(o.Repository, "/")
	if !found || owner == "" || name == "" {
		return nil, fmt.Errorf("%w: repository %q is not owner/name", rollout.ErrInput, o.Repository)
	}
	if o.Token == "" {
		return nil, fmt.Errorf("%w: there is no token to ask GitHub with: give input github-token", rollout.ErrInput)
	}
	transport := o.HTTP.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	client := *o.HTTP
	client.Transport = &patience{next: transport, clock: o.Clock}
	client.Timeout = 0 // each attempt has its own, waiting has none
	client.CheckRedirect = sameHost
	options := []github.ClientOptionsFunc{
		github.WithHTTPClient(&client), github.WithAuthToken(o.Token), github.WithUserAgent("gapless"),
		github.WithDisableRateLimitCheck(), // patience does, by the clock that it is given
	}
	if o.API != "" {
		base := strings.TrimSuffix(o.API, "/") + "/"
		options = append(options, github.WithURLs(&base, nil))
	}
	api, err := github.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", rollout.ErrInput, err)
	}
	c := &Client{api: api, owner: owner, name: name, app: strings.HasPrefix(o.Token, "ghs_"), clock: o.Clock, warn: o.Warn}
	if c.warn == nil {
		c.warn = func(string) {}
	}
	return c, nil
}

// sameHost follows what is renamed, and takes the token nowhere else.
func sameHost(req *http.Request, via []*http.Request) error {
	const most = 5
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host || len(via) > most {
		return http.ErrUseLastResponse
	}
	return nil
}

// perPage is the most that GitHub gives at once.
const perPage = 100

// pages calls get for each page of a list until there is none left.
func pages(get func(github.ListOptions) (*github.Response, error)) error {
	o := github.ListOptions{Page: 1, PerPage: perPage}
	for {
		resp, err := get(o)
		if err != nil || resp.NextPage == 0 {
			return err
		}
		o.Page = resp.NextPage
	}
}
