package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gapless-deploy/gapless/internal/forge/github"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/report"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// command is what a comment's run does first; it is no phase.
const command rollout.Phase = "command"

// commandCmd finds out what a comment asks for, and hands it to the jobs after
// it. What it refuses is answered on the pull request and is no failed run.
type commandCmd struct{ meantFlags }

// Run reads the comment.
func (c *commandCmd) Run(ctx context.Context, env *environment) error {
	if env.job == nil || env.job.comment() == nil {
		return &inputError{
			errors.New("command is for a run that a comment brought about (on: issue_comment)"),
			"see workflows-examples/commands.yml",
		}
	}
	client, err := env.job.github()
	if err != nil {
		return err
	}
	if client == nil {
		return &inputError{errors.New("input github-token is empty: the comment cannot be looked at"), "leave it at its default"}
	}
	order := &order{env: env, commands: github.NewCommands(client), client: client, of: *env.job.comment()}
	r, page, err := order.follow(ctx, c.meantFlags)
	if err != nil {
		return err
	}
	if r.Reason != "" {
		env.out.say(r.Reason + "\n")
	}
	return env.job.finish(r, page)
}

// order is one comment that is followed.
type order struct {
	env      *environment
	commands github.Commands
	client   *github.Client
	of       github.Comment
}

// follow gives what the comment asks for: the phase that may run now. Where
// none may, it says why, here and on the pull request.
func (o *order) follow(ctx context.Context, meant meantFlags) (result, *report.Page, error) {
	r := result{Version: resultVersion, Phase: command, Outcome: rollout.Done}
	taken, err := o.commands.Read(ctx, o.of)
	if errors.Is(err, github.ErrNoCommand) {
		r.Reason = err.Error()
		return r, nil, nil
	}
	if refused, ok := errors.AsType[*github.RefusedError](err); ok {
		r.Outcome, r.Reason, r.Hint = rollout.Refused, refused.Error(), refused.Hint()
		return r, nil, nil
	}
	if err != nil {
		return r, nil, err
	}
	composed, err := o.env.compose()
	if err != nil {
		return r, nil, err
	}
	work, err := meant.work(composed.work)
	if err != nil {
		return r, nil, err
	}
	st, err := composed.runner.Status(ctx, work)
	if err != nil {
		return r, nil, &blindError{command, err}
	}
	page := report.Status(statusView(st))
	r = resultOf(st.Result)
	r.Phase, r.Next, r.NextPhase, r.NextTo, r.WaitingFor, r.GateDigest = command, "", "", 0, "", ""
	asked, ok := taken.Verb.Phase()
	if !ok { // status
		return r, &page, o.reply(ctx, page)
	}
	due, err := allowed(taken, asked, st)
	if err != nil {
		o.commands.Refuse(ctx, o.of, err)
		r.Outcome, r.Reason, r.Hint = rollout.Refused, err.Error(), rollout.HintOf(err)
		return r, &page, nil
	}
	o.commands.Done(ctx, o.of)
	r.NextPhase, r.NextTo, r.GateDigest = due.Phase, due.To, due.digest
	r.Reason = fmt.Sprintf("%s asks for %s", taken.Author, due.Phase)
	return r, &page, nil
}

// reply shows a page below the comment.
func (o *order) reply(ctx context.Context, page report.Page) error {
	marker := fmt.Sprintf("<!-- gapless:status:%d -->", o.of.ID)
	body := o.env.out.mask.apply(page.Markdown())
	if err := o.client.Sticky(o.of.PullRequest).Publish(ctx, marker, body); err != nil {
		return fmt.Errorf("show the status: %w", err)
	}
	o.commands.Done(ctx, o.of)
	return nil
}

// permitted is a phase that a comment may have run.
type permitted struct {
	Phase  rollout.Phase
	To     rollout.Weight
	digest string
}

// allowed gives the phase that a comment's verb stands for now. A verb that
// goes on with the rollout must be about the rollout that this pull request
// brought, and name the digest that is due wherever one is. The phase itself
// looks again, at all of it.
func allowed(taken github.Taken, asked rollout.Phase, st phase.Status) (permitted, error) {
	due := permitted{Phase: asked, To: taken.To}
	if asked == rollout.Rollback || asked == rollout.Hold {
		return due, nil
	}
	next := st.Next
	switch {
	case st.State == nil && asked == rollout.Adopt && next.Phase == asked:
	case st.State == nil:
		return due, &inputError{errors.New("there is no record to go on from"), "see gapless status"}
	case st.State.Opening.Commit != taken.Commit:
		return due, &inputError{
			fmt.Errorf("rollout %s was brought by another commit than this pull request", st.State.Rollout),
			"comment on the pull request that brought it",
		}
	case asked == rollout.Promote && next.Phase == rollout.Deploy: // a rolling update, or a first release
		due.Phase = rollout.Deploy
	case next.Phase != asked:
		return due, &inputError{fmt.Errorf("next is %s, not %s", next.Phase, asked), "see gapless status"}
	case asked == rollout.Retire && next.Waits != "" && st.State.Held == nil:
		return due, &inputError{errors.New(next.Waits), "ask again then"}
	}
	if due.To == 0 {
		due.To = next.To
	}
	switch {
	case due.To != next.To && st.GateDigest != "":
		return due, &inputError{fmt.Errorf("the digest that is due is for %s, not for %s", next.To, due.To), "name no weight, or that one"}
	case st.GateDigest == "" && taken.Digest == "":
		return due, nil
	case st.GateDigest == "" || taken.Digest == "" || !strings.HasPrefix(st.GateDigest, taken.Digest):
		return due, &inputError{
			fmt.Errorf("it names digest %s, due is %s", orNone(taken.Digest), orNone(st.GateDigest)),
			"look at what is due now, and name its digest",
		}
	}
	due.digest = st.GateDigest
	return due, nil
}

func orNone(digest string) string {
	if digest == "" {
		return "none"
	}
	return digest[:min(12, len(digest))]
}
