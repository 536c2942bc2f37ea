package githubtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// every permission that a job may have.
var every = githubtest.Permissions{
	githubtest.Contents: githubtest.Write, githubtest.Actions: githubtest.Write, githubtest.PullRequests: githubtest.Write,
	githubtest.Issues: githubtest.Write, githubtest.Deployments: githubtest.Write, githubtest.IDToken: githubtest.Write,
}

// object is JSON.
type object = map[string]any

// client returns go-github's client with a token.
func client(t *testing.T, s *githubtest.Server, token string) *github.Client {
	t.Helper()
	c, err := github.NewClient(github.WithAuthToken(token), github.WithEnterpriseURLs(s.APIURL()+"/", s.URL()+"/"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// recorder keeps what would fail a test.
type recorder struct {
	testing.TB

	mu     sync.Mutex
	faults []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// Fatalf ends the caller as a test's does.
func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// fatal runs what must end in Fatalf.
func (r *recorder) fatal(run func()) {
	r.Helper()
	returned := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
		returned = true
	}()
	if <-done; returned {
		r.TB.Errorf("it returned, want Fatalf")
	}
}

// take returns the faults so far and forgets them.
func (r *recorder) take() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := strings.Join(r.faults, "\n")
	r.faults = nil
	return all
}

// wantFault asserts that the fake told of one fault, and of which.
func (r *recorder) wantFault(parts ...string) {
	r.Helper()
	got := r.take()
	if got == "" || strings.Contains(got, "\n"+"githubtest:") {
		r.TB.Errorf("faults %q, want one", got)
	}
	for _, part := range parts {
		if !strings.Contains(got, part) {
			r.TB.Errorf("fault %q, want %q in it", got, part)
		}
	}
}

// reply is what send got.
type reply struct {
	status int
	header http.Header
	body   string
}

// send sends a request; header is names and values in turn.
func send(t *testing.T, method, url, bearer, body string, header ...string) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	// Redirects are what is looked at.
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(content)}
}

// status sends a request and asserts on the status of the answer.
func status(t *testing.T, want int, method, url, bearer, body string, header ...string) string {
	t.Helper()
	got := send(t, method, url, bearer, body, header...)
	if got.status != want {
		t.Errorf("%s %s: status %d, want %d: %s", method, url, got.status, want, got.body)
	}
	return got.body
}

func decode(t *testing.T, content string) object {
	t.Helper()
	var decoded object
	if err := json.Unmarshal([]byte(content), &decoded); err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	return decoded
}

// noon is when tests with a clock begin.
func noon() *githubtest.Clock {
	return githubtest.NewClock(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
}

// shop is a repository with a running job.
func shop(s *githubtest.Server, spec githubtest.JobSpec) (*githubtest.Repository, *githubtest.Job) {
	repo := s.Repository("acme/shop", githubtest.Protected("main"))
	if spec.Permissions == nil {
		spec.Permissions = every
	}
	if spec.Name == "" {
		spec.Name = "deploy"
	}
	return repo, repo.Run(githubtest.RunSpec{}).Job(spec)
}
