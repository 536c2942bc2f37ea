package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/store/artifact"
	"github.com/gapless-deploy/gapless/internal/store/dir"
	"github.com/gapless-deploy/gapless/internal/store/journal"
	"github.com/gapless-deploy/gapless/internal/store/seal"
)

// inArtifacts is the state input that keeps records as artifacts of the runs.
const inArtifacts = "artifact"

// answersWithin bounds one request to the forge.
const answersWithin = time.Minute

func forgeHTTP() *http.Client { return &http.Client{Timeout: answersWithin} }

// store is where the records are kept.
func (env *environment) store() (phase.Store, error) {
	j := env.job
	if j == nil {
		return dir.New(env.commands.State), nil
	}
	if state := j.Input(runner.InputState); state != inArtifacts {
		return dir.New(state), nil
	}
	store, err := artifact.New(artifact.Options{
		ServerURL: j.ServerURL, ResultsURL: j.ResultsURL, RuntimeToken: j.RuntimeToken,
		APIURL: j.APIURL, Token: j.Input(runner.InputGitHubToken),
		Repository: j.Repository, RepositoryID: j.RepositoryID,
		Run: strconv.FormatInt(j.RunID, 10), Ref: j.RefName, Branch: j.defaultBranch(), RetentionDays: j.RetentionDays,
		HTTP: forgeHTTP(), Clock: phase.SystemClock{},
		Warn: func(text string) { env.out.say("warning: " + text + "\n") },
	})
	if err != nil {
		return nil, &inputError{fmt.Errorf("input state: %w", err), "see docs/guides/github-actions.md"}
	}
	return store, nil
}

// defaultBranch is the repository's. Events whose payload does not tell it
// (schedule among them) happen on it.
func (j *job) defaultBranch() string { return cmp.Or(j.event.DefaultBranch, j.RefName) }

// journal is where a phase's way is kept for the post step; nil outside of a
// job.
func (env *environment) journal(service string) phase.Journal {
	if env.job == nil || env.job.Temp == "" {
		return nil
	}
	return journal.New(filepath.Join(env.job.Temp, journals), service)
}

// seal vouches for the records of a job. Those in a directory are vouched for
// only where there is a key: whoever can write there runs the service.
func (env *environment) seal() (phase.Seal, error) {
	j := env.job
	if j == nil {
		return nil, nil
	}
	o := seal.Options{Key: []byte(j.Input(runner.InputRecordKey)), Previous: []byte(j.Input(runner.InputRecordKeyPrevious))}
	if j.Input(runner.InputState) == inArtifacts {
		o.Tokens = &seal.Tokens{
			Source: j.tokens(), Verifier: j.verifier(),
			RepositoryID: strconv.FormatInt(j.RepositoryID, 10), Refs: []string{j.Ref, "refs/heads/" + j.defaultBranch()},
		}
	} else if len(o.Key)+len(o.Previous) == 0 {
		return nil, nil
	}
	s, err := seal.New(o)
	if err != nil {
		return nil, &inputError{err, "give record-key at least 32 bytes, from a secret"}
	}
	return s, nil
}

// tokens is where the job gets the tokens that prove who it is.
func (j *job) tokens() *oidc.Source {
	return &oidc.Source{URL: j.IDTokenURL, Token: j.IDTokenToken, HTTP: forgeHTTP(), Clock: phase.SystemClock{}}
}

// verifier is one for all, so that the issuer's keys are read once.
func (j *job) verifier() *oidc.Verifier {
	if j.issuer == nil {
		j.issuer = oidc.NewVerifier(j.Input(runner.InputOIDCIssuer), forgeHTTP(), phase.SystemClock{})
	}
	return j.issuer
}
