package seal_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/seal"
)

var _ phase.Seal = (*seal.Seal)(nil)

// stage is a repository whose jobs write a record.
type stage struct {
	t      *testing.T
	github *githubtest.Server
	clock  *githubtest.Clock
	repo   *githubtest.Repository
	run    *githubtest.Run
}

func newStage(t *testing.T) *stage {
	t.Helper()
	clock := githubtest.NewClock(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC))
	github := githubtest.New(t, githubtest.WithClock(clock))
	repo := github.Repository("shop/address-book")
	return &stage{t: t, github: github, clock: clock, repo: repo, run: repo.Run(githubtest.RunSpec{})}
}

// job is one of the stage's run, in an environment or in none.
func (s *stage) job(environment string) *githubtest.Job { return jobOf(s.run, environment) }

func jobOf(run *githubtest.Run, environment string) *githubtest.Job {
	return run.Job(githubtest.JobSpec{
		Name: "phase", Environment: environment, Permissions: githubtest.Permissions{githubtest.IDToken: githubtest.Write},
	})
}

// tokens are those of a job.
func (s *stage) tokens(job *githubtest.Job) *seal.Tokens {
	source := &oidc.Source{HTTP: s.github.Client(), Clock: s.clock}
	if job != nil {
		env := job.Env()
		source.URL, source.Token = env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]
	}
	return &seal.Tokens{
		Source: source, Verifier: oidc.NewVerifier(s.github.Issuer(), s.github.Client(), s.clock),
		RepositoryID: strconv.FormatInt(s.repo.ID, 10), Refs: []string{"refs/heads/main"},
	}
}

// seal is that of a job; nil is one that only reads.
func (s *stage) seal(job *githubtest.Job) *seal.Seal {
	s.t.Helper()
	return newSeal(s.t, seal.Options{Tokens: s.tokens(job)})
}

func newSeal(t *testing.T, o seal.Options) *seal.Seal {
	t.Helper()
	made, err := seal.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// entry is one that a phase writes.
type entry struct {
	phase rollout.Phase
	data  rollout.Data
}

// opened is a rollout of a canary behind an environment, and its contract
// behind another.
func opened() rollout.Opened {
	return rollout.Opened{
		Candidate: rollout.Revision{ID: "v2", Spec: strings.Repeat("2", 64)},
		Stable:    rollout.Revision{ID: "v1", Spec: strings.Repeat("1", 64)},
		Side:      rollout.Green, Strategy: rollout.Canary, Target: "local",
		Gates: rollout.Gates{
			Promote:  &rollout.Gate{Environment: "production"},
			Contract: &rollout.Gate{Environment: "production-schema"},
		},
	}
}

const digest = "d1d1d1d1d1d1"

// begun is a promote to 5 percent that was let through.
func begun() rollout.Began {
	return rollout.Began{To: 50, Digest: digest, Gate: "environment production", Approval: "ana"}
}

// started is a record of a rollout whose candidate stands.
func started(o rollout.Opened) []entry {
	return []entry{
		{rollout.Deploy, o}, {rollout.Deploy, rollout.Began{}},
		{rollout.Deploy, rollout.Launched{Side: o.Side, Revision: o.Candidate, Instances: 1}},
		{rollout.Deploy, rollout.Ended{Outcome: rollout.Done}},
	}
}

// promoted is what an approved promote to 5 percent writes.
func promoted() []entry {
	return []entry{
		{rollout.Promote, begun()},
		{rollout.Promote, rollout.Shifting{To: 50}},
		{rollout.Promote, rollout.Shifted{To: 50}},
		{rollout.Promote, rollout.Ended{Outcome: rollout.Done}},
	}
}

// appended adds entries in a job's name.
func (s *stage) appended(r rollout.Record, job *githubtest.Job, entries ...entry) rollout.Record {
	s.t.Helper()
	w := rollout.Writer{Run: strconv.FormatInt(job.Run().ID, 10), Attempt: job.Run().Attempt(), Actor: "ana"}
	if r.Version == 0 {
		r = rollout.NewRecord("address-book", "v2-0a1b2c")
	}
	for _, e := range entries {
		var err error
		if r, err = r.Append(rollout.Head{}, s.clock.Now(), w, e.phase, e.data); err != nil {
			s.t.Fatal(err)
		}
	}
	return r
}

// signed signs the newest entry as gapless does.
func (s *stage) signed(r rollout.Record, by *seal.Seal) rollout.Record {
	s.t.Helper()
	signature, err := by.Sign(s.t.Context(), r)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.Sign(signature)
}

// forged signs the newest entry with a token of the job's, without a look at
// what is signed.
func forged(r rollout.Record, job *githubtest.Job, claims map[string]any) rollout.Record {
	head := r.Head()
	return r.Sign(rollout.Signature{
		Seq: head.Seq, Hash: head.Hash, Method: rollout.SignedByToken, Value: job.IDToken("gapless:"+head.Hash, claims),
	})
}

// standing is the record of a rollout whose candidate stands, signed by a job
// in no environment.
func (s *stage) standing(o rollout.Opened) rollout.Record {
	s.t.Helper()
	job := s.job("")
	return s.signed(s.appended(rollout.Record{}, job, started(o)...), s.seal(job))
}

// refuses fails unless the record is refused as broken, with words that say why.
func (s *stage) refuses(r rollout.Record, name, why string) {
	s.t.Helper()
	refusedBy(s.t, s.seal(nil), r, name, why)
}

func refusedBy(t *testing.T, by *seal.Seal, r rollout.Record, name, why string) {
	t.Helper()
	err := by.Verify(t.Context(), r)
	if !errors.Is(err, rollout.ErrBroken) {
		t.Errorf("%s: %v, want %v", name, err, rollout.ErrBroken)
		return
	}
	if !strings.Contains(err.Error(), why) {
		t.Errorf("%s: refused, but not because of %q: %v", name, why, err)
	}
}

func takenBy(t *testing.T, by *seal.Seal, r rollout.Record, name string) {
	t.Helper()
	if err := by.Verify(t.Context(), r); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
