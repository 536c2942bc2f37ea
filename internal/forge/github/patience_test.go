package github_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// waited is what was waited in all.
func (s *stage) waited() (sum time.Duration) {
	for _, d := range s.clock.Slept() {
		sum += d
	}
	return sum
}

func TestPatience(t *testing.T) {
	s := newStage(t)
	job := s.approved(guarded(), usual())
	rest := func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/environments/") }
	s.github.Fail(1, rest, githubtest.SecondaryLimit(http.StatusForbidden, 40*time.Second))
	s.github.Fail(1, rest, githubtest.SecondaryLimit(http.StatusTooManyRequests, 20*time.Second))
	s.github.Fail(1, rest, githubtest.PrimaryLimit(30*time.Second))
	open(t, s.gates(job, nil, nil), production(), "ben")
	if got := s.waited(); got < 90*time.Second || got > 95*time.Second {
		t.Errorf("waited %s, asked for were 90s", got)
	}
}

// Two comments are worse than none: what may have been done is not done again,
// what was refused for its rate is.
func TestCreatingIsRepeatedOnlyWhereNothingWasDone(t *testing.T) {
	s := newStage(t)
	creates := func(r *http.Request) bool { return r.Method == http.MethodPost }
	s.github.Fail(1, creates, githubtest.Status(http.StatusBadGateway))
	c := s.client(s.job()).Sticky(s.pull.Number)
	if err := c.Publish(t.Context(), marker, "planned"); err == nil {
		t.Error("a bad gateway is no error")
	}
	if n := len(s.github.RequestsTo(http.MethodPost, "/comments")); n != 1 {
		t.Errorf("asked %d times to create a comment", n)
	}
	s.github.Fail(1, creates, githubtest.SecondaryLimit(http.StatusForbidden, 10*time.Second))
	s.clock.Advance(time.Minute)
	publish(t, c, "planned")
	s.shows(bot, "planned")
}

// A limit that names no time is given a minute, then two; no more than three in
// all.
func TestLimitThatNamesNoTime(t *testing.T) {
	s := newStage(t)
	asked := 0
	client, err := github.New(github.Options{
		API: s.github.APIURL(), Repository: s.repo.FullName(), Token: "secret", Clock: s.clock,
		HTTP: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			asked++
			body := `{"message": "You have exceeded a secondary rate limit."}`
			return &http.Response{StatusCode: http.StatusForbidden, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.PullRequestOf(t.Context(), s.commit); err == nil || strings.Contains(err.Error(), "lacks the permission") {
		t.Errorf("a limit is taken for a missing permission: %v", err)
	}
	if asked != 3 || s.waited() != 3*time.Minute {
		t.Errorf("asked %d times within %s", asked, s.waited())
	}
}
