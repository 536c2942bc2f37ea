package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gapless-deploy/gapless/internal/forge/runner"
	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/store/artifact"
	"github.com/gapless-deploy/gapless/internal/store/dir"
	"github.com/gapless-deploy/gapless/internal/store/journal"
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
