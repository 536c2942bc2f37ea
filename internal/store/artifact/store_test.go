package artifact_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact"
	"github.com/gapless-deploy/gapless/internal/store/storetest"
)

// The suite's records are written by run 1.
const writer = 1

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a repository on a fake GitHub.
type world struct {
	t     *testing.T
	hub   *githubtest.Server
	clock *githubtest.Clock
	repo  *githubtest.Repository

	mu     sync.Mutex
	warned []string
}

func newWorld(t *testing.T, options ...githubtest.Option) *world {
	t.Helper()
	clock := githubtest.NewClock(noon)
	hub := githubtest.New(t, append(options, githubtest.WithClock(clock))...)
	return &world{t: t, hub: hub, clock: clock, repo: hub.Repository("acme/shop")}
}

// run starts a run on the default branch.
func (w *world) run(id int64) *githubtest.Run {
	w.t.Helper()
	return w.repo.Run(githubtest.RunSpec{ID: id})
}

// job starts a job with the least permissions that the store needs.
func job(run *githubtest.Run) *githubtest.Job {
	return run.Job(githubtest.JobSpec{Name: "deploy", Permissions: githubtest.Permissions{githubtest.Actions: githubtest.Read}})
}

// options are those that a job's environment gives.
func (w *world) options(job *githubtest.Job) artifact.Options {
	w.t.Helper()
	env := job.Env()
	number := func(name string) int {
		n, err := strconv.Atoi(env[name])
		if err != nil {
			w.t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	return artifact.Options{
		ServerURL: env["GITHUB_SERVER_URL"], ResultsURL: env["ACTIONS_RESULTS_URL"], RuntimeToken: env["ACTIONS_RUNTIME_TOKEN"],
		APIURL: env["GITHUB_API_URL"], Token: env["INPUT_GITHUB-TOKEN"],
		Repository: env["GITHUB_REPOSITORY"], RepositoryID: int64(number("GITHUB_REPOSITORY_ID")),
		Run: env["GITHUB_RUN_ID"], Ref: env["GITHUB_REF_NAME"], Branch: w.repo.DefaultBranch,
		RetentionDays: number("GITHUB_RETENTION_DAYS"),
		HTTP:          w.hub.Client(), Clock: w.clock,
		Warn: func(text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.warned = append(w.warned, text)
		},
	}
}

// store gives the store of a job.
func (w *world) store(job *githubtest.Job) *artifact.Store {
	w.t.Helper()
	return w.open(w.options(job))
}

func (w *world) open(o artifact.Options) *artifact.Store {
	w.t.Helper()
	s, err := artifact.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// eachJob makes every call from a job of its own, as a workflow does.
type eachJob struct {
	w            *world
	saves, loads *githubtest.Run
}

func (e eachJob) Save(ctx context.Context, r rollout.Record, follows rollout.Head) error {
	return e.w.store(job(e.saves)).Save(ctx, r, follows)
}

func (e eachJob) Load(ctx context.Context, service string, want rollout.Head) (rollout.Record, error) {
	return e.w.store(job(e.loads)).Load(ctx, service, want)
}

func TestContract(t *testing.T) {
	for name, fresh := range map[string]func(*testing.T) phase.Store{
		"one job": func(t *testing.T) phase.Store {
			w := newWorld(t)
			return w.store(job(w.run(writer)))
		},
		"one job, a server like act's": func(t *testing.T) phase.Store {
			w := newWorld(t, githubtest.CamelCase())
			return w.store(job(w.run(writer)))
		},
		"jobs of one run": func(t *testing.T) phase.Store {
			w := newWorld(t)
			run := w.run(writer)
			return eachJob{w, run, run}
		},
		"saved in one run, loaded in another": func(t *testing.T) phase.Store {
			w := newWorld(t)
			return eachJob{w, w.run(writer), w.run(0)}
		},
	} {
		t.Run(name, func(t *testing.T) { storetest.Run(t, fresh) })
	}
}

// hand answers some requests in the place of the server; status 0 leaves one
// to it.
type hand func(*http.Request) (status int, body string)

// handed is a transport that a test has its hand in.
type handed struct {
	next http.RoundTripper
	hand hand
}

func (h handed) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := h.hand(r)
	if status == 0 {
		return h.next.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// through gives options whose requests pass a hand.
func through(o artifact.Options, h hand) artifact.Options {
	client := *o.HTTP
	client.Transport = handed{client.Transport, h}
	o.HTTP = &client
	return o
}

// unlisted hides all artifacts from the first n lists.
func unlisted(n int) hand {
	return func(r *http.Request) (int, string) {
		if !strings.HasSuffix(r.URL.Path, "artifacts") && !strings.HasSuffix(r.URL.Path, "/ListArtifacts") || n == 0 {
			return 0, ""
		}
		n--
		return http.StatusOK, `{"total_count":0,"artifacts":[]}`
	}
}

// opened gives the first record of a rollout, grown one more entry.
func opened(t *testing.T) (first, second rollout.Record) {
	t.Helper()
	first = storetest.Opened(t, storetest.Service, "r1", rollout.Head{})
	return first, storetest.Grown(t, first, "on")
}

func save(t *testing.T, s *artifact.Store, r rollout.Record, follows rollout.Head) {
	t.Helper()
	if err := s.Save(t.Context(), r, follows); err != nil {
		t.Fatalf("save: %v", err)
	}
}

func names(run *githubtest.Run) (all []string) {
	for _, a := range run.Artifacts() {
		all = append(all, a.Name)
	}
	return all
}

// recordName is the scheme, as documented.
func recordName(h rollout.Head) string {
	return "gapless-" + storetest.Service + "-00000" + strconv.Itoa(h.Seq) + "-" + h.Hash[:12]
}

// whole skips what moves many megabytes where it would take minutes.
func whole(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("too much for the race detector: make test runs it without")
	}
}
