package githubtest_test

import (
	"testing"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// every permission that a job may have.
var every = githubtest.Permissions{
	githubtest.Contents: githubtest.Write, githubtest.Actions: githubtest.Write, githubtest.PullRequests: githubtest.Write,
	githubtest.Issues: githubtest.Write, githubtest.Deployments: githubtest.Write, githubtest.IDToken: githubtest.Write,
}

// client returns go-github's client with a token.
func client(t *testing.T, s *githubtest.Server, token string) *github.Client {
	t.Helper()
	c, err := github.NewClient(github.WithAuthToken(token), github.WithEnterpriseURLs(s.APIURL()+"/", s.URL()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRepository(t *testing.T) {
	s := githubtest.New(t)
	repo := s.Repository("acme/shop")
	job := repo.Run(githubtest.RunSpec{}).Job(githubtest.JobSpec{Name: "deploy", Permissions: every})
	got, _, err := client(t, s, job.Token()).Repositories.Get(t.Context(), "acme", "shop")
	if err != nil {
		t.Fatal(err)
	}
	if got.GetFullName() != "acme/shop" {
		t.Error(got)
	}
}
