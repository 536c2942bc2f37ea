package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// audience is what the token that signs a hash is issued for.
func audience(hash string) string { return "gapless:" + hash }

// cover is who vouches for an entry.
type cover struct {
	// shared is set where whoever has the key may have written it; the rest is
	// then empty.
	shared       bool
	run, attempt string
	environment  string
	event        string
}

func coverOf(c oidc.Claims) cover {
	return cover{run: c.RunID, attempt: c.RunAttempt, environment: c.Environment, event: c.EventName}
}

// wrote checks that an entry says of itself what its token says.
func (c cover) wrote(e rollout.Entry) error {
	if c.shared || e.Run == c.run && strconv.Itoa(e.Attempt) == c.attempt {
		return nil
	}
	return fault("", "entry %d says that run %s, attempt %d wrote it; it is vouched for by run %s, attempt %s",
		e.Seq, e.Run, e.Attempt, c.run, c.attempt)
}

// in reports whether the entry was written in an environment.
func (c cover) in(environment string) bool { return c.shared || c.environment == environment }

// sign asks for a token over the newest entry, and checks it as a reader will.
func (t *Tokens) sign(ctx context.Context, record rollout.Record) (string, oidc.Claims, error) {
	head := record.Head()
	token, err := t.Source.Request(ctx, audience(head.Hash))
	if err != nil {
		return "", oidc.Claims{}, err
	}
	signature := rollout.Signature{Seq: head.Seq, Hash: head.Hash, Method: rollout.SignedByToken, Value: token}
	claims, err := t.check(ctx, signature, record.Entries[len(record.Entries)-1])
	if errors.Is(err, oidc.ErrInvalid) { // so soon after it was issued
		err = fault("compare the clock of the platform, which dates the entries, with the real time", "its own token would be refused: %w", err)
	}
	return token, claims, err
}

// check checks a token and the job that it was issued to. Beside
// oidc.ErrUnknownKey the claims are those that the token makes, unproven.
func (t *Tokens) check(ctx context.Context, signature rollout.Signature, entry rollout.Entry) (oidc.Claims, error) {
	claims, err := t.Verifier.VerifyAt(ctx, signature.Value, audience(signature.Hash), entry.At)
	if claims.Issuer == "" {
		return claims, err
	}
	if fault := t.entitled(claims); fault != nil {
		return oidc.Claims{}, fault
	}
	return claims, err
}

// entitled checks that the job may write records of this repository.
func (t *Tokens) entitled(c oidc.Claims) error {
	switch {
	case c.RepositoryID != t.RepositoryID:
		return fault("", "it was made in repository %s (id %s), not in the one with id %s", c.Repository, c.RepositoryID, t.RepositoryID)
	case c.OfPullRequest():
		return fault("run phases that change something on push, schedule, workflow_dispatch or issue_comment",
			"it was made by a run for event %s, which may hold what nobody has reviewed", c.EventName)
	case !slices.Contains(t.Refs, c.Ref):
		return fault("run phases on the default branch", "it was made on %s, not on %s", c.Ref, strings.Join(t.Refs, " or "))
	}
	return nil
}

// opened checks that an approval was written where its gate is opened.
func (c cover) opened(g rollout.Gate) error {
	const comment = "issue_comment"
	switch {
	case g.Environment != "" && !c.in(g.Environment):
		return fmt.Errorf("it was written in %s", named(c.environment))
	case g.Comment != "" && !c.shared && c.event != comment:
		return fmt.Errorf("it was written by a run for event %s, not by a comment's", c.event)
	}
	return nil
}

func named(environment string) string {
	if environment == "" {
		return "no environment"
	}
	return "environment " + environment
}
