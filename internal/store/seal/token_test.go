package seal_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/seal"
)

// A rollout over several jobs, read long after by a job that cannot sign.
func TestRecordOfSeveralJobs(t *testing.T) {
	s := newStage(t)
	r := s.standing(opened())
	gated := s.job("production")
	r = s.signed(s.appended(r, gated, promoted()[:2]...), s.seal(gated))
	r = s.signed(s.appended(r, gated, promoted()[2:]...), s.seal(gated))
	s.clock.Advance(time.Hour)
	schedule := jobOf(s.repo.Run(githubtest.RunSpec{Event: githubtest.Schedule}), "")
	r = s.signed(s.appended(r, schedule, entry{rollout.Tick, rollout.Began{}}, entry{rollout.Tick, rollout.Ended{}}), s.seal(schedule))
	s.clock.Advance(30 * 24 * time.Hour)
	takenBy(t, s.seal(nil), r, "a month later")
	if _, err := s.seal(nil).Sign(t.Context(), r); !errors.Is(err, oidc.ErrNoToken) {
		t.Errorf("signed without a token: %v", err)
	}
}

// What somebody can do who has a genuine token, but not the right one.
func TestForgedSignatures(t *testing.T) {
	s := newStage(t)
	base := s.standing(opened())
	tick := []entry{{rollout.Tick, rollout.Began{}}, {rollout.Tick, rollout.Ended{Outcome: rollout.Done}}}
	job := s.job("")
	next := s.appended(base, job, tick...)

	s.repo.Commit("feature")
	fork := s.github.Repository("mallory/address-book", githubtest.ForkOf(s.repo))
	pull := s.repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "main"})
	elsewhere := map[string]*githubtest.Job{
		"not on refs/heads/main": jobOf(s.repo.Run(githubtest.RunSpec{Event: githubtest.WorkflowDispatch, Branch: "feature"}), ""),
		"not in the one with id": jobOf(fork.Run(githubtest.RunSpec{}), ""),
		"event pull_request":     jobOf(s.repo.Run(githubtest.RunSpec{Event: githubtest.OnPullRequest, PullRequest: pull}), ""),
	}
	for why, other := range elsewhere {
		s.refuses(forged(s.appended(base, other, tick...), other, nil), "appended and signed by another job", why)
	}
	// As the base branch's code sees it, with what the pull request brings.
	s.refuses(forged(next, job, map[string]any{"event_name": "pull_request_target"}), "signed for a pull_request_target", "event pull_request_target")

	s.refuses(forged(s.appended(base, s.job(""), tick...), jobOf(s.repo.Run(githubtest.RunSpec{}), ""), nil),
		"signed by another run", "vouched for by run")
	s.refuses(forged(next, job, map[string]any{"run_attempt": "2"}), "signed by another attempt", "attempt 2")

	replayed := next.Head()
	s.refuses(next.Sign(rollout.Signature{
		Seq: replayed.Seq, Hash: replayed.Hash, Method: rollout.SignedByToken, Value: base.Signatures[0].Value,
	}), "with the token for another hash", "it was issued for")
	s.refuses(next.Sign(rollout.Signature{
		Seq: replayed.Seq, Hash: replayed.Hash, Method: rollout.SignedByToken, Value: job.IDToken("gapless:gate:"+replayed.Hash, nil),
	}), "with a gate's token", "it was issued for")
	s.refuses(next.Sign(rollout.Signature{Seq: replayed.Seq, Hash: replayed.Hash, Method: "pgp", Value: "x"}),
		"signed in a way that is not known", "no way to sign")
	s.clock.Advance(time.Hour)
	s.refuses(forged(next, job, nil), "signed an hour after its date", "it is valid from")
	takenBy(t, s.seal(nil), base, "the one before")
}

func TestTamperedRecords(t *testing.T) {
	s := newStage(t)
	gated := jobOf(s.repo.Run(githubtest.RunSpec{}), "production")
	r := s.signed(s.appended(s.standing(opened()), gated, promoted()...), s.seal(gated))
	takenBy(t, s.seal(nil), r, "as it was written")

	stripped := r
	stripped.Signatures = r.Signatures[:1]
	s.refuses(stripped, "without its newest signature", "is not signed")
	if err := s.seal(nil).Verify(t.Context(), stripped); !strings.Contains(rollout.HintOf(err), "gapless adopt") {
		t.Errorf("no way out is named: %q", rollout.HintOf(err))
	}
	stripped.Signatures = nil
	s.refuses(stripped, "without signatures", "is not signed")

	reordered := r
	reordered.Signatures = []rollout.Signature{r.Signatures[1], r.Signatures[0]}
	s.refuses(reordered, "with its signatures reordered", "signature")

	first := r
	first.Signatures = r.Signatures[1:]
	s.refuses(first, "with all entries put to the newest signature's run", "vouched for by run")

	swapped := r
	swapped.Signatures = []rollout.Signature{r.Signatures[0], r.Signatures[1]}
	swapped.Signatures[1].Value = r.Signatures[0].Value
	s.refuses(swapped, "with one token in the place of another", "it was issued for")

	changed := r
	changed.Entries = append([]rollout.Entry(nil), r.Entries...)
	changed.Entries[2].Actor = "mallory"
	s.refuses(changed, "with an entry changed", "was changed")

	renamed := r
	renamed.Service = "billing"
	s.refuses(renamed, "as another service's", "was changed")

	s.clock.Advance(time.Second)
	rewritten := s.appended(rollout.Record{}, gated, started(opened())...)
	rewritten.Signatures = r.Signatures[:1]
	s.refuses(rewritten, "with other entries under old signatures", "signature")
}

// A run vouches for what it wrote itself, and for nothing that another one left
// unsigned.
func TestEntriesBelongToTheFirstSignatureAfterThem(t *testing.T) {
	s := newStage(t)
	one, other := s.job(""), jobOf(s.repo.Run(githubtest.RunSpec{}), "")
	r := s.appended(rollout.Record{}, one, started(opened())...)
	r = s.appended(r, other, entry{rollout.Tick, rollout.Began{}})
	s.refuses(forged(r, other, nil), "entries of two runs under one token", "vouched for by run")
	if _, err := s.seal(other).Sign(t.Context(), r); err == nil || errors.Is(err, rollout.ErrBroken) {
		t.Errorf("signed what would be refused: %v", err)
	}
}

func TestKeysThatTheIssuerNoLongerPublishes(t *testing.T) {
	s := newStage(t)
	r := s.standing(opened())
	s.github.ForgetKeys()
	err := s.seal(nil).Verify(t.Context(), r)
	if !errors.Is(err, rollout.ErrBroken) || !strings.Contains(rollout.HintOf(err), "gapless adopt") {
		t.Errorf("the newest signature's key is gone: %v (hint %q)", err, rollout.HintOf(err))
	}

	// Somebody who could check it, since the key was known then, has gone on.
	job := s.job("")
	later := forged(s.appended(r, job, entry{rollout.Tick, rollout.Began{}}), job, nil)
	takenBy(t, s.seal(nil), later, "vouched for by a later signature")

	// What an unknown key signed must still fit what it is said to sign.
	unfit := later
	unfit.Signatures = append([]rollout.Signature(nil), later.Signatures...)
	unfit.Signatures[0].Value = s.job("").IDToken("gapless:other", nil)
	s.github.ForgetKeys()
	job = s.job("")
	unfit = forged(s.appended(unfit, job, entry{rollout.Tick, rollout.Ended{}}), job, nil)
	s.refuses(unfit, "an unknown key over another hash", "it was issued for")
}

func TestIssuerThatCannotBeAsked(t *testing.T) {
	s := newStage(t)
	r := s.standing(opened())
	s.github.Fail(5, func(r *http.Request) bool { return strings.Contains(r.URL.Path, ".well-known") }, githubtest.Status(http.StatusBadGateway))
	err := s.seal(nil).Verify(t.Context(), r)
	if err == nil || errors.Is(err, rollout.ErrBroken) {
		t.Errorf("the issuer is down: %v; that says nothing of the record", err)
	}
	takenBy(t, s.seal(nil), r, "once it is up")
}

// A platform whose clock is wrong is told of before a record is written that
// nobody would read.
func TestPlatformsClock(t *testing.T) {
	s := newStage(t)
	job := s.job("")
	r := s.appended(rollout.Record{}, job, started(opened())...)
	s.clock.Advance(10 * time.Minute)
	r = s.signed(r, s.seal(job))
	takenBy(t, s.seal(nil), r, "ten minutes off")
	s.clock.Advance(10 * time.Minute)
	_, err := s.seal(job).Sign(t.Context(), r)
	if err == nil || errors.Is(err, rollout.ErrBroken) || !strings.Contains(rollout.HintOf(err), "clock") {
		t.Errorf("signed an entry dated 20 minutes off: %v (hint %q)", err, rollout.HintOf(err))
	}
}

func TestOwnRef(t *testing.T) {
	s := newStage(t)
	s.repo.Commit("release-1")
	job := jobOf(s.repo.Run(githubtest.RunSpec{Branch: "release-1"}), "")
	tokens := s.tokens(job)
	tokens.Refs = append(tokens.Refs, "refs/heads/release-1")
	own := newSeal(t, seal.Options{Tokens: tokens})
	r := s.signed(s.appended(rollout.Record{}, job, started(opened())...), own)
	takenBy(t, own, r, "by a run of the same branch")
	s.refuses(r, "by a run of the default branch", "release-1")
}
