package seal_test

import (
	"errors"
	"testing"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Everything here is signed by genuine jobs of the default branch; what is
// wrong is what they say to have been let through. Neither is it read, nor does
// gapless itself sign it.
func TestNothingPassesByAGate(t *testing.T) {
	to := func(w rollout.Weight) entry { return entry{rollout.Promote, rollout.Shifted{To: w}} }
	change := func(b rollout.Began, f func(*rollout.Began)) rollout.Began { f(&b); return b }
	resumed := rollout.Began{To: 50, Digest: digest}
	tests := []struct {
		name        string
		opened      func(*rollout.Opened)
		environment string // of the job that forges
		entries     []entry
		why         string
	}{
		{name: "an approval written outside of the environment", entries: promoted(), why: "no environment"},
		{name: "an approval written in another environment", environment: "staging", entries: promoted(), why: "environment staging"},
		{
			name: "no approval", environment: "production",
			entries: []entry{{rollout.Promote, rollout.Began{To: 50, Digest: digest, Gate: "environment production"}}, to(50)},
			why:     "no phase was let through",
		},
		{
			name: "an approval of another gate", environment: "staging",
			entries: []entry{{rollout.Promote, change(begun(), func(b *rollout.Began) { b.Gate = "environment staging" })}, to(50)},
			why:     "what is approved is environment staging",
		},
		{name: "traffic without a phase", environment: "production", entries: []entry{to(50)}, why: "no phase was let through"},
		{
			name: "traffic by a phase of another name", environment: "production",
			entries: []entry{{rollout.Tick, rollout.Began{}}, {rollout.Tick, rollout.Shifted{To: 50}}},
			why:     "no phase was let through",
		},
		{
			name: "an act only announced", entries: []entry{{rollout.Promote, rollout.Shifting{To: 50}}},
			why: "no phase was let through",
		},
		{
			name: "traffic after the approved phase has ended", environment: "production",
			entries: append(promoted(), to(250)), why: "no phase was let through",
		},
		{
			name: "more than what was approved", environment: "production",
			entries: []entry{{rollout.Promote, begun()}, to(50), to(250)}, why: "let through was 5%, this is 25%",
		},
		{
			name: "a phase that resumes nothing", environment: "production",
			entries: []entry{{rollout.Promote, resumed}, to(50)}, why: "no phase was let through",
		},
		{
			name: "a phase that resumes one that was not let through", environment: "production",
			entries: []entry{{rollout.Promote, resumed}, {rollout.Promote, resumed}, to(50)}, why: "no phase was let through",
		},
		{
			name: "a phase that resumes one that has ended", environment: "production",
			entries: append(promoted(), entry{rollout.Promote, change(resumed, func(b *rollout.Began) { b.To = 250 })}, to(250)),
			why:     "no phase was let through",
		},
		{
			name: "a phase that resumes to another weight", environment: "production",
			entries: []entry{
				{rollout.Promote, begun()}, {rollout.Promote, change(resumed, func(b *rollout.Began) { b.To = 250 })}, to(250),
			},
			why: "no phase was let through",
		},
		{
			name: "a phase that resumes under another digest", environment: "production",
			entries: []entry{
				{rollout.Promote, begun()}, {rollout.Promote, change(resumed, func(b *rollout.Began) { b.Digest = "e2e2" })}, to(50),
			},
			why: "no phase was let through",
		},
		{
			name: "a phase that resumes under no digest", environment: "production",
			entries: []entry{
				{rollout.Promote, begun()}, {rollout.Promote, change(resumed, func(b *rollout.Began) { b.Digest = "" })}, to(50),
			},
			why: "no phase was let through",
		},
		{
			name: "another phase under what was approved", environment: "production",
			opened: func(o *rollout.Opened) { o.Gates.Contract = o.Gates.Promote },
			entries: []entry{
				{rollout.Promote, begun()}, {rollout.Contract, resumed},
				{rollout.Contract, rollout.Migrating{Change: "0007", State: rollout.Contracting}},
			},
			why: "no phase was let through",
		},
		{
			name: "traffic by a contract that was approved", environment: "production",
			opened: func(o *rollout.Opened) { o.Gates.Contract = o.Gates.Promote },
			entries: []entry{
				{rollout.Contract, rollout.Began{Digest: digest, Gate: "environment production", Approval: "ana"}},
				{rollout.Contract, rollout.Shifted{To: 50}},
			},
			why: "no phase was let through",
		},
		{
			name: "traffic in the name of another phase", environment: "production",
			entries: []entry{{rollout.Promote, begun()}, {rollout.Tick, rollout.Shifted{To: 50}}}, why: "no phase was let through",
		},
		{
			name: "a phase that resumes after another one", environment: "production",
			entries: []entry{{rollout.Promote, begun()}, {rollout.Tick, rollout.Began{}}, {rollout.Promote, resumed}, to(50)},
			why:     "no phase was let through",
		},
		{
			name: "a waiver without an approval", environment: "production",
			entries: []entry{{rollout.Promote, rollout.Began{To: 50, Accepted: "it looks fine"}}},
			why:     "it accepts what is not known",
		},
		{
			name: "a waiver added while resuming", environment: "production",
			entries: []entry{{rollout.Promote, begun()}, {rollout.Promote, change(resumed, func(b *rollout.Began) { b.Accepted = "it looks fine" })}},
			why:     "it accepts what is not known",
		},
		{
			name: "a contract in the promote's environment", environment: "production",
			entries: []entry{
				{rollout.Contract, rollout.Began{Digest: digest, Gate: "environment production", Approval: "ana"}},
				{rollout.Contract, rollout.Migrating{Change: "0007", State: rollout.Contracting}},
			},
			why: "what is approved is environment production",
		},
		{
			name: "a contract without an approval", environment: "production-schema",
			entries: []entry{
				{rollout.Contract, rollout.Began{Digest: digest}},
				{rollout.Contract, rollout.Migrating{Change: "0007", State: rollout.Contracting}},
			},
			why: "no phase was let through",
		},
		{
			name: "a first release", opened: func(o *rollout.Opened) { o.Stable = rollout.Revision{} },
			entries: []entry{{rollout.Deploy, rollout.Began{}}, {rollout.Deploy, rollout.Shifting{To: rollout.Full}}},
			why:     "no phase was let through",
		},
		{
			name: "a rolling update", opened: func(o *rollout.Opened) { o.Strategy = rollout.Rolling },
			entries: []entry{{rollout.Deploy, rollout.Began{}}, {rollout.Deploy, rollout.Replacing{To: 1, Of: 3}}},
			why:     "no phase was let through",
		},
		{
			name: "an environment that no gate asks for", opened: func(o *rollout.Opened) { o.Gates = rollout.Gates{} },
			entries: promoted(), why: "no environment",
		},
		{
			name:    "a comment's approval by a push",
			opened:  func(o *rollout.Opened) { o.Gates.Promote = &rollout.Gate{Comment: "write"} },
			entries: []entry{{rollout.Promote, change(begun(), func(b *rollout.Began) { b.Gate = "comment by write" })}, to(50)},
			why:     "not by a comment's",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			o := opened()
			if test.opened != nil {
				test.opened(&o)
			}
			base, job := s.standing(o), s.job(test.environment)
			next := s.appended(base, job, test.entries...)
			s.refuses(forged(next, job, nil), "read", test.why)
			if _, err := s.seal(job).Sign(t.Context(), next); err == nil || errors.Is(err, rollout.ErrBroken) {
				t.Errorf("signed, or blamed on the record: %v", err)
			}
			takenBy(t, s.seal(nil), base, "the record before")
		})
	}
}

// What is let through, and what needs not be.
func TestWhatGatesLetThrough(t *testing.T) {
	resumed := rollout.Began{To: 50, Digest: digest}
	tests := []struct {
		name        string
		opened      func(*rollout.Opened)
		environment string
		entries     []entry
	}{
		{name: "approved in the environment", environment: "production", entries: promoted()},
		{
			name: "resumed, and resumed again", environment: "production",
			entries: append([]entry{
				{rollout.Promote, begun()}, {rollout.Promote, rollout.Shifting{To: 50}},
				{rollout.Promote, resumed}, {rollout.Promote, resumed},
			}, promoted()[2:]...),
		},
		{name: "no gate in force", opened: func(o *rollout.Opened) { o.Gates = rollout.Gates{} }, entries: []entry{
			{rollout.Promote, rollout.Began{To: 50}}, {rollout.Promote, rollout.Shifted{To: 50}},
		}},
		{name: "an expected digest without a gate", opened: func(o *rollout.Opened) { o.Gates = rollout.Gates{} }, entries: []entry{
			{rollout.Promote, rollout.Began{To: 50, Digest: digest, Gate: "expected digest"}}, {rollout.Promote, rollout.Shifted{To: 50}},
		}},
		{name: "a contract in its environment", environment: "production-schema", entries: []entry{
			{rollout.Contract, rollout.Began{Digest: digest, Gate: "environment production-schema", Approval: "ana"}},
			{rollout.Contract, rollout.Migrating{Change: "0007", State: rollout.Contracting}},
		}},
		{name: "expand", entries: []entry{
			{rollout.Expand, rollout.Began{}}, {rollout.Expand, rollout.Migrating{Change: "0007", State: rollout.Expanding}},
		}},
		// A rolling update is superseded by a deploy, which ends it and is let
		// through only in the record of the rollout that follows.
		{name: "superseding a rolling update", opened: func(o *rollout.Opened) { o.Strategy = rollout.Rolling }, entries: []entry{
			{rollout.Deploy, rollout.Began{Gate: "environment production"}},
			{rollout.Deploy, rollout.RolledBack{Reason: "superseded by v3"}}, {rollout.Deploy, rollout.Ended{Outcome: rollout.Done}},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newStage(t)
			o := opened()
			if test.opened != nil {
				test.opened(&o)
			}
			job := s.job(test.environment)
			r := s.signed(s.appended(s.standing(o), job, test.entries...), s.seal(job))
			takenBy(t, s.seal(nil), r, "read")
		})
	}
}

// What an approved job has begun is not finished by one outside of the
// environment.
func TestGoingOnOutsideOfTheEnvironment(t *testing.T) {
	s := newStage(t)
	gated, other := s.job("production"), s.job("")
	r := s.signed(s.appended(s.standing(opened()), gated, entry{rollout.Promote, begun()}), s.seal(gated))
	for name, next := range map[string]entry{
		"resumed":        {rollout.Promote, rollout.Began{To: 50, Digest: digest}},
		"simply gone on": {rollout.Promote, rollout.Shifted{To: 50}},
	} {
		s.refuses(forged(s.appended(r, other, next), other, nil), name, "no environment")
	}
	takenBy(t, s.seal(nil), s.signed(s.appended(r, gated, promoted()[1:]...), s.seal(gated)), "gone on in the environment")
}

// A rollback comes from a job in no environment; what goes up again after it
// needs an approval of its own.
func TestRollbackNeedsNoGate(t *testing.T) {
	s := newStage(t)
	gated := s.job("production")
	r := s.signed(s.appended(s.standing(opened()), gated, promoted()...), s.seal(gated))
	job := s.job("")
	back := s.appended(r, job, entry{rollout.Rollback, rollout.Began{}}, entry{rollout.Rollback, rollout.RolledBack{From: 50}})
	takenBy(t, s.seal(nil), s.signed(back, s.seal(job)), "rolled back")
	up := s.appended(back, job, entry{rollout.Rollback, rollout.Shifted{To: 50}})
	s.refuses(forged(up, job, nil), "up again by the rollback", "no phase was let through")
}

// A comment's approval is written by the comment's run. What a killed one had
// begun may be finished by another.
func TestCommentGate(t *testing.T) {
	s := newStage(t)
	o := opened()
	o.Gates.Promote = &rollout.Gate{Comment: "write"}
	pull := s.repo.PullRequest(githubtest.PullRequestSpec{})
	comment := s.repo.Comment(pull.Number, "ana", "/gapless promote "+digest)
	job := jobOf(s.repo.Run(githubtest.RunSpec{Event: githubtest.IssueComment, Comment: comment}), "")
	b := begun()
	b.Gate = "comment by write"
	r := s.signed(s.appended(s.standing(o), job, entry{rollout.Promote, b}), s.seal(job))
	other := s.job("")
	r = s.signed(s.appended(r, other, entry{rollout.Promote, rollout.Began{To: 50, Digest: digest}}, entry{rollout.Promote, rollout.Shifted{To: 50}}), s.seal(other))
	takenBy(t, s.seal(nil), r, "approved by a comment, resumed by a push")
}

func TestAdoption(t *testing.T) {
	adopted := rollout.Adopted{
		Stable: opened().Stable, Side: rollout.Blue, Reason: "the artifacts had expired", Gates: opened().Gates,
	}
	approved := rollout.Began{Digest: digest, Gate: "environment production", Approval: "ana"}
	s := newStage(t)
	for name, test := range map[string]struct {
		environment string
		entries     []entry
		why         string // nothing where it is taken
	}{
		"let through":         {"production", []entry{{rollout.Adopt, adopted}, {rollout.Adopt, approved}}, ""},
		"not let through":     {"production", []entry{{rollout.Adopt, adopted}, {rollout.Adopt, rollout.Began{}}}, "nobody let the adoption through"},
		"and nothing more":    {"production", []entry{{rollout.Adopt, adopted}, {rollout.Adopt, rollout.Ended{}}}, "nobody let the adoption through"},
		"by another phase":    {"production", []entry{{rollout.Adopt, adopted}, {rollout.Promote, approved}}, "nobody let the adoption through"},
		"outside of its gate": {"", []entry{{rollout.Adopt, adopted}, {rollout.Adopt, approved}}, "no environment"},
	} {
		job := s.job(test.environment)
		r := forged(s.appended(rollout.Record{}, job, test.entries...), job, nil)
		if test.why == "" {
			takenBy(t, s.seal(nil), r, name)
			continue
		}
		s.refuses(r, name, test.why)
	}
}
