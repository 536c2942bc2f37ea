package cli

import (
	"context"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// live shows on GitHub where a phase stands while it works: in the comment of
// the rollout, and in the status of the job's deployment.
type live struct {
	job *job
	ctx context.Context //nolint:containedctx // of the one phase that it follows; it outlives a cancel

	mu    sync.Mutex
	view  report.View
	page  *page
	begun bool
}

// event follows the phase.
func (l *live) event(e phase.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case e.Record != nil:
		state, err := rollout.Fold(*e.Record)
		if err != nil { // the phase has folded it already
			return
		}
		l.view = report.View{Record: *e.Record, State: state, Now: state.Last, RunURL: l.job.RunURL()}
	case e.Judgement != nil:
		l.view.Judgement = e.Judgement
	case e.Progress != nil:
		l.view.Progress = e.Progress
	default:
		return
	}
	l.show(l.view)
}

// show replaces what is shown.
func (l *live) show(v report.View) {
	if v.Record.Rollout == "" {
		return
	}
	if !l.begun {
		l.begun = true
		l.begin(v.State.Opening.Commit)
	}
	if l.page != nil {
		l.page.set(l.job.out.mask.apply(report.Comment(v)))
	}
}

// begin finds out where to show it. What cannot be shown keeps no phase from
// going on.
func (l *live) begin(commit string) {
	to, err := l.job.sticky(commit)
	if err != nil {
		l.job.out.say("warning: no comment: " + err.Error() + "\n")
	}
	if to != nil {
		l.page = newPage(l.ctx, to, func(text string) { l.job.out.say("warning: " + text + "\n") })
	}
}

// A phase that has ended waits so long until that is shown; one that was
// cancelled has little time left.
const (
	lastWord      = 5 * time.Second
	lastCancelled = 500 * time.Millisecond
)

// end shows how the phase ended, and waits until it is shown.
func (l *live) end(ctx context.Context, res phase.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := lastWord
	if ctx.Err() != nil {
		limit = lastCancelled
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if l.shows(res) {
		v := viewOf(res)
		v.RunURL = l.job.RunURL()
		l.show(v)
	}
	l.close(ctx)
	if res.State != nil {
		l.deploy(ctx, res)
	}
}

// close waits until what was shown last is there to be read.
func (l *live) close(ctx context.Context) {
	if l.page != nil {
		l.page.close(ctx)
	}
}

// shows reports whether the end is news: a tick that found nothing to do comes
// every few minutes, and each request counts against the repository's limit.
func (l *live) shows(res phase.Result) bool {
	idle := res.Phase == rollout.Tick && res.Outcome == rollout.Done && !l.begun
	return res.State != nil && !idle
}

// deploy tells the deployment of the job, where it has an environment and the
// token may.
func (l *live) deploy(ctx context.Context, res phase.Result) {
	client, err := l.job.github()
	if err != nil || client == nil {
		return
	}
	environment := l.job.environment(ctx)
	if environment == "" {
		return
	}
	state := github.DeploymentSuccess
	if res.Outcome != rollout.Done {
		state = github.DeploymentFailure
	}
	client.Deployment(environment, l.job.SHA).Tell(ctx, state, report.Rollout(viewOf(res)).Title(), "")
}

// environment is that of the job, by its own token: the runner does not tell.
// It is only shown, so that it need not be proven.
func (j *job) environment(ctx context.Context) string {
	const audience = "gapless:environment"
	if j.IDTokenURL == "" {
		return ""
	}
	token, err := j.tokens().Request(ctx, audience)
	if err != nil {
		return ""
	}
	claims, err := j.verifier().Verify(ctx, token, audience)
	if err != nil {
		return ""
	}
	return claims.Environment
}
