package github_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const marker = "<!-- gapless:address-book:v2-0a1b2c -->"

func (s *stage) job() *githubtest.Job { return s.repo.Run(githubtest.RunSpec{}).Job(spec("")) }

// shows fails unless the pull request has one comment of ours, with this text.
func (s *stage) shows(by, want string) {
	s.t.Helper()
	var ours []string
	for _, c := range s.repo.Comments(s.pull.Number) {
		if c.Author() == by {
			ours = append(ours, c.Body())
		}
	}
	if len(ours) != 1 || ours[0] != marker+"\n"+want {
		s.t.Errorf("comments by %s: %q, want one of %q", by, ours, want)
	}
}

func publish(t *testing.T, c *github.Sticky, body string) {
	t.Helper()
	if err := c.Publish(t.Context(), marker, body); err != nil {
		t.Fatal(err)
	}
}

const bot = "github-actions[bot]"

func TestStickyComment(t *testing.T) {
	s := newStage(t)
	one := s.client(s.job()).Sticky(s.pull.Number)
	publish(t, one, "planned")
	s.shows(bot, "planned")

	// It is found from another job, on whatever page it stands.
	for i := range 250 {
		s.repo.Comment(s.pull.Number, "ana", fmt.Sprint("talk ", i))
	}
	other := s.client(s.job()).Sticky(s.pull.Number)
	publish(t, other, marker+"\nat 5%")
	s.shows(bot, "at 5%")
	s.clock.Advance(time.Minute)
	publish(t, one, "at 25%")
	s.shows(bot, "at 25%")
	if n := len(s.github.RequestsTo(http.MethodPost, "/comments")); n != 1 {
		t.Errorf("commented %d times", n)
	}
}

func TestStickyCommentIsBounded(t *testing.T) {
	s := newStage(t)
	c := s.client(s.job()).Sticky(s.pull.Number)
	edits := func() int {
		n := 0
		for _, r := range s.github.Requests() {
			if r.Method == http.MethodPatch {
				n++
			}
		}
		return n
	}
	for i := range 60 { // one a second
		publish(t, c, fmt.Sprint("step ", i))
		s.clock.Advance(time.Second)
	}
	if n := edits(); n != 3 {
		t.Errorf("%d updates in a minute, want 3", n)
	}
	s.shows(bot, "step 45")
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.shows(bot, "step 59")

	before := len(s.github.Requests())
	s.clock.Advance(time.Minute)
	publish(t, c, "step 59")
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(s.github.Requests()); n != before {
		t.Errorf("%d requests for what is shown already", n-before)
	}
}

// A comment by somebody else is never taken for ours, whatever it says.
func TestStickyCommentOfOthers(t *testing.T) {
	s := newStage(t)
	planted := s.repo.Comment(s.pull.Number, "mallory", marker+"\nall is well")
	s.repo.Comment(s.pull.Number, bot, "quoted: "+marker+"\nplanned")
	publish(t, s.client(s.job()).Sticky(s.pull.Number), "at 5%")
	if planted.Body() != marker+"\nall is well" {
		t.Errorf("the other's comment was changed: %q", planted.Body())
	}
	if got := s.replies(s.pull); len(got) != 2 || got[1] != marker+"\nat 5%" {
		t.Errorf("comments %q", got)
	}
}

func TestStickyCommentThatWasDeleted(t *testing.T) {
	s := newStage(t)
	c := s.client(s.job()).Sticky(s.pull.Number)
	publish(t, c, "planned")
	s.deleteAs("ana", s.repo.Comments(s.pull.Number)[0])
	s.clock.Advance(time.Minute)
	publish(t, c, "at 5%")
	s.shows(bot, "at 5%")
}

func (s *stage) deleteAs(login string, c *githubtest.Comment) {
	s.t.Helper()
	url := fmt.Sprintf("%s/repos/%s/issues/comments/%d", s.github.APIURL(), s.repo.FullName(), c.ID)
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodDelete, url, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.github.PersonalToken(login))
	resp, err := s.github.Client().Do(req)
	if err != nil || resp.StatusCode != http.StatusNoContent {
		s.t.Fatalf("delete: %v, %v", resp, err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
}

// Jobs that comment for the first time at once end with one comment, which the
// last of them can update.
func TestStickyCommentsAtOnce(t *testing.T) {
	s := newStage(t)
	const jobs = 4
	var wait sync.WaitGroup
	all := make([]*github.Sticky, jobs)
	for i := range all {
		all[i] = s.client(s.job()).Sticky(s.pull.Number)
		wait.Go(func() {
			if err := all[i].Publish(t.Context(), marker, fmt.Sprint("job ", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	s.clock.Advance(time.Minute)
	for i, c := range all {
		publish(t, c, fmt.Sprint("once more ", i))
	}
	s.shows(bot, fmt.Sprint("once more ", jobs-1))
}

// A comment that another job writes between our look and our own makes ours go.
func TestStickyCommentWrittenInBetween(t *testing.T) {
	s := newStage(t)
	transport := s.github.Client().Transport
	client, err := github.New(github.Options{
		API: s.github.APIURL(), Repository: s.repo.FullName(), Token: s.job().Token(), Clock: s.clock,
		HTTP: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				publish(t, s.client(s.job()).Sticky(s.pull.Number), "by another job")
			}
			return transport.RoundTrip(r)
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, client.Sticky(s.pull.Number), "at 5%")
	s.shows(bot, "at 5%")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What GitHub did without our hearing of it is found, not done twice.
func TestStickyCommentWhoseAnswerWasLost(t *testing.T) {
	s := newStage(t)
	c := s.client(s.job()).Sticky(s.pull.Number)
	s.github.Fail(1, func(r *http.Request) bool { return r.Method == http.MethodPost }, githubtest.LostAnswer())
	if err := c.Publish(t.Context(), marker, "planned"); err == nil {
		t.Error("a lost answer is no error")
	}
	s.clock.Advance(time.Minute)
	publish(t, c, "at 5%")
	s.shows(bot, "at 5%")
}

func TestStickyCommentByAPersonsToken(t *testing.T) {
	s := newStage(t)
	token := s.github.PersonalToken("ben")
	publish(t, s.clientWith(token).Sticky(s.pull.Number), "planned")
	s.clock.Advance(time.Minute)
	publish(t, s.clientWith(token).Sticky(s.pull.Number), "at 5%")
	s.shows("ben", "at 5%")
}

func TestStickyCommentsOfTwoRollouts(t *testing.T) {
	s := newStage(t)
	c := s.client(s.job()).Sticky(s.pull.Number)
	publish(t, c, "old: at 5%")
	publish(t, c, "old: superseded")
	if err := c.Publish(t.Context(), "<!-- gapless:address-book:v3-0a1b2c -->", "new"); err != nil {
		t.Fatal(err)
	}
	got := s.replies(s.pull)
	if len(got) != 2 || got[0] != marker+"\nold: superseded" || !strings.HasSuffix(got[1], "-->\nnew") {
		t.Errorf("comments %q", got)
	}
}

func TestCommentThatIsRefused(t *testing.T) {
	s := newStage(t)
	c := s.client(s.job()).Sticky(s.pull.Number)
	if err := c.Publish(t.Context(), marker, strings.Repeat("é", 65536)); err == nil || !strings.Contains(err.Error(), "65536") {
		t.Errorf("too long: %v", err)
	}
	publish(t, c, strings.Repeat("é", 65000))

	p := usual()
	p[githubtest.PullRequests] = githubtest.Read
	reader := s.repo.Run(githubtest.RunSpec{}).Job(githubtest.JobSpec{Name: "plan", Permissions: p})
	other := s.repo.PullRequest(githubtest.PullRequestSpec{Branch: "next"})
	err := s.client(reader).Sticky(other.Number).Publish(t.Context(), marker, "planned")
	if err == nil || !strings.Contains(rollout.HintOf(err), "pull-requests: write") {
		t.Errorf("a token that may not: %v (hint %q)", err, rollout.HintOf(err))
	}
}

func TestPullRequestOfACommit(t *testing.T) {
	s := newStage(t)
	open := s.repo.PullRequest(githubtest.PullRequestSpec{Branch: "next"})
	client := s.client(s.job())
	for commit, want := range map[string]int{
		s.commit: s.pull.Number, open.HeadSHA(): 0, s.pull.HeadSHA(): 0, s.repo.Commit("main"): 0, "": 0,
	} {
		number, why, err := client.PullRequestOf(t.Context(), commit)
		if err != nil || number != want || (why == "") != (want > 0) || strings.Contains(why, "\n") {
			t.Errorf("commit %q: #%d, %q, %v; want #%d", commit, number, why, err, want)
		}
	}
}

func TestDeployment(t *testing.T) {
	s := newStage(t)
	p := usual()
	p[githubtest.Deployments] = githubtest.Write
	run := s.repo.Run(githubtest.RunSpec{})
	run.Job(githubtest.JobSpec{Name: "before", Environment: "canary", Permissions: p})
	job := run.Job(githubtest.JobSpec{Name: "deploy", Environment: "canary", Permissions: p})
	d := s.client(job).Deployment("canary", run.SHA())
	d.Tell(t.Context(), github.DeploymentInProgress, "at 5%", "")
	d.Tell(t.Context(), github.DeploymentInProgress, "at 5%", "")
	d.Tell(t.Context(), github.DeploymentSuccess, strings.Repeat("ü", 200), "https://addresses.example.com")
	made := s.repo.Deployments("canary")
	got := made[len(made)-1].Statuses()[1:] // the first is GitHub's own
	if len(got) != 2 || got[0].State != "in_progress" || got[0].Description != "at 5%" ||
		got[1].State != "success" || len([]rune(got[1].Description)) != 140 || got[1].EnvironmentURL != "https://addresses.example.com" {
		t.Errorf("statuses %+v", got)
	}
	if n := len(made[0].Statuses()); n != 1 || len(s.warned) != 0 {
		t.Errorf("%d statuses of the job before; warned %q", n, s.warned)
	}
}

// A token that may not is told of once, and nothing fails.
func TestDeploymentOfATokenThatMayNot(t *testing.T) {
	s := newStage(t)
	run := s.repo.Run(githubtest.RunSpec{})
	d := s.client(run.Job(spec("canary"))).Deployment("canary", run.SHA())
	for _, state := range []github.DeploymentState{github.DeploymentInProgress, github.DeploymentFailure} {
		d.Tell(t.Context(), state, "", "")
	}
	if len(s.warned) != 1 || !strings.Contains(s.warned[0], "deployments: write") {
		t.Errorf("warned %q", s.warned)
	}
	if n := len(s.github.RequestsTo(http.MethodGet, "/deployments")); n != 1 {
		t.Errorf("asked %d times", n)
	}
	s.client(run.Job(spec(""))).Deployment("", run.SHA()).Tell(t.Context(), github.DeploymentSuccess, "", "")
	if len(s.warned) != 1 {
		t.Errorf("a job in no environment: %q", s.warned)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]github.Options{
		"no repository": {Token: "x", Repository: "shop"}, "no token": {Repository: "shop/address-book"},
		"no URL": {Token: "x", Repository: "shop/address-book", API: "://"},
	} {
		o.HTTP = http.DefaultClient
		if _, err := github.New(o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// A token goes to the API and nowhere that the API sends it.
func TestTokenStaysWithTheAPI(t *testing.T) {
	s := newStage(t)
	var seen []string
	client, err := github.New(github.Options{
		API: s.github.APIURL(), Repository: s.repo.FullName(), Token: "secret", Clock: s.clock,
		HTTP: &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.URL.Host+" "+r.Header.Get("Authorization"))
			return &http.Response{
				StatusCode: http.StatusFound, Request: r, Body: http.NoBody,
				Header: http.Header{"Location": {"https://example.com/elsewhere"}},
			}, nil
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := client.PullRequestOf(t.Context(), s.commit); err == nil {
		t.Error("a redirect to another host is no error")
	}
	for _, request := range seen {
		if strings.HasPrefix(request, "example.com") {
			t.Errorf("asked %s", request)
		}
	}
	if len(seen) == 0 {
		t.Error("nothing was asked")
	}
}
