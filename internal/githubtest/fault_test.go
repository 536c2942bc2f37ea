package githubtest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

func TestStatusFaults(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	repo := s.APIURL() + "/repos/acme/shop"
	twirp := newService(t, job)
	for _, code := range []int{403, 404, 409, 422, 429, 500, 502, 503} {
		s.Fail(1, githubtest.On("GET", "/acme/shop"), githubtest.Status(code))
		if got := decode(t, status(t, code, "GET", repo, job.Token(), "")); got["message"] == "" {
			t.Errorf("%d: %v", code, got)
		}
		s.Fail(1, githubtest.On("", "/ListArtifacts"), githubtest.Status(code))
		if got := twirp.call(code, "ListArtifacts", nil); got["code"] == "" || got["message"] != nil {
			t.Errorf("%d: %v", code, got)
		}
		status(t, http.StatusOK, "GET", repo, job.Token(), "")
	}
	url := twirp.create("x")
	s.Fail(2, nil, githubtest.Status(http.StatusServiceUnavailable))
	if got := status(t, http.StatusServiceUnavailable, "PUT", url+"&comp=blocklist", "", listed()); !strings.Contains(got, "<Code>") {
		t.Errorf("answer %s", got)
	}
	status(t, http.StatusServiceUnavailable, "GET", repo, job.Token(), "")
	status(t, http.StatusOK, "GET", repo, job.Token(), "")
	if got := s.RequestsTo("GET", "/acme/shop"); len(got) != 18 {
		t.Errorf("%d requests in the log, want 18", len(got))
	}
}

func TestRateLimits(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	get := func() error {
		_, _, err := client(t, s, job.Token()).Repositories.Get(t.Context(), "acme", "shop")
		return err
	}
	for _, code := range []int{http.StatusForbidden, http.StatusTooManyRequests} {
		s.Fail(1, nil, githubtest.SecondaryLimit(code, time.Minute))
		var secondary *github.AbuseRateLimitError
		if err := get(); !errors.As(err, &secondary) || secondary.GetRetryAfter() != time.Minute {
			t.Errorf("%d: error %v", code, err)
		}
	}
	s.Fail(1, nil, githubtest.PrimaryLimit(time.Hour))
	var primary *github.RateLimitError
	if err := get(); !errors.As(err, &primary) || primary.Rate.Remaining != 0 || time.Until(primary.Rate.Reset.Time) < 50*time.Minute {
		t.Errorf("error %v", err)
	}
	if err := get(); err != nil {
		t.Error(err)
	}
}

func TestBrokenConnections(t *testing.T) {
	s := githubtest.New(t)
	repo, job := shop(s, githubtest.JobSpec{})
	pull := repo.PullRequest(githubtest.PullRequestSpec{})
	c := client(t, s, job.Token())
	comment := func(ctx context.Context) error {
		_, _, err := c.Issues.CreateComment(ctx, "acme", "shop", pull.Number, &github.IssueComment{Body: new("hello")})
		return err
	}
	proceed := make(chan struct{})
	for _, test := range []struct {
		name  string
		fault githubtest.Fault
		want  int // comments by then
	}{
		{"reset", githubtest.Reset(), 0},
		{"lost answer", githubtest.LostAnswer(), 1},
		{"truncated", githubtest.Truncated(), 2},
	} {
		s.Fail(1, githubtest.On("POST", "/comments"), test.fault)
		if err := comment(t.Context()); err == nil {
			t.Errorf("%s: no error", test.name)
		}
		if got := len(repo.Comments(pull.Number)); got != test.want {
			t.Errorf("%s: %d comments, want %d", test.name, got, test.want)
		}
	}
	s.Fail(2, githubtest.On("GET", "/acme/shop"), githubtest.Slow(proceed))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, _, err := c.Repositories.Get(ctx, "acme", "shop"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("slow: error %v", err)
	}
	close(proceed)
	if _, _, err := c.Repositories.Get(t.Context(), "acme", "shop"); err != nil {
		t.Errorf("slow, but in time: %v", err)
	}
}

func TestRequestsAreLogged(t *testing.T) {
	s := githubtest.New(t)
	repo, job := shop(s, githubtest.JobSpec{})
	pull := repo.PullRequest(githubtest.PullRequestSpec{})
	if _, _, err := client(t, s, job.Token()).Issues.CreateComment(t.Context(), "acme", "shop", pull.Number,
		&github.IssueComment{Body: new("hello")}); err != nil {
		t.Fatal(err)
	}
	got := s.RequestsTo("POST", "/issues/1/comments")
	if len(got) != 1 || strings.TrimSpace(string(got[0].Body)) != `{"body":"hello"}` || got[0].Header.Get("Authorization") == "" {
		t.Errorf("log %v", got)
	}
	if len(s.RequestsTo("GET", "/issues/1/comments")) != 0 {
		t.Error("another method is taken for it")
	}
}

// TestForContainers reaches the server by the name that containers have for
// the machine.
func TestForContainers(t *testing.T) {
	s := githubtest.New(t, githubtest.Listen("0.0.0.0:0", "localhost"))
	_, job := shop(s, githubtest.JobSpec{})
	env := job.Env()
	if !strings.HasPrefix(env["GITHUB_API_URL"], "http://localhost:") {
		t.Errorf("GITHUB_API_URL is %s", env["GITHUB_API_URL"])
	}
	content := status(t, http.StatusOK, "GET", env["GITHUB_API_URL"]+"/repos/acme/shop", job.Token(), "")
	if !strings.Contains(content, `"url":"http://localhost:`) {
		t.Errorf("answer %s", content)
	}
}
