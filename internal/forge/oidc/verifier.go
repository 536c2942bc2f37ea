package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// GitHub is the issuer of github.com. That of a GHE.com tenant is
// https://token.actions.SUBDOMAIN.ghe.com.
const GitHub = "https://token.actions.githubusercontent.com"

const (
	// leeway is how far this machine's clock may be off GitHub's.
	leeway = time.Minute
	// Tolerance is how far the time at which something was written, by a
	// platform's clock, may be off the time in which its token was valid, by
	// GitHub's. It has room for a slow platform between the two as well.
	Tolerance = 15 * time.Minute
)

// Verifier checks tokens by the keys that their issuer publishes.
type Verifier struct {
	issuer string
	clock  Clock
	keys   keys
}

// NewVerifier gives a verifier of an issuer's tokens; an empty issuer is
// GitHub's.
func NewVerifier(issuer string, client *http.Client, clock Clock) *Verifier {
	if issuer == "" {
		issuer = GitHub
	}
	issuer = strings.TrimSuffix(issuer, "/")
	return &Verifier{issuer: issuer, clock: clock, keys: keys{issuer: issuer, client: client, clock: clock}}
}

// Verify checks a token that was just issued: signature, issuer, audience (it
// has that one and no other) and time. Its errors wrap ErrInvalid or
// ErrUnknownKey; others say that the issuer's keys could not be read.
func (v *Verifier) Verify(ctx context.Context, token, audience string) (Claims, error) {
	claims, err := v.verify(ctx, token, audience, v.clock.Now(), leeway)
	if err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// VerifyAt checks a token that is read long after it was issued. Whether it
// has expired since does not matter; at the time given, which is a platform's,
// it must have been valid to within Tolerance. Beside ErrUnknownKey the claims
// are those that the token makes, unproven.
func (v *Verifier) VerifyAt(ctx context.Context, token, audience string, at time.Time) (Claims, error) {
	return v.verify(ctx, token, audience, at, Tolerance)
}

// wire is the token's payload.
type wire struct {
	jwt.Claims

	Repository        string `json:"repository"`
	RepositoryID      string `json:"repository_id"`
	RepositoryOwnerID string `json:"repository_owner_id"`
	Ref               string `json:"ref"`
	RefProtected      string `json:"ref_protected"`
	SHA               string `json:"sha"`
	Environment       string `json:"environment"`
	WorkflowRef       string `json:"workflow_ref"`
	JobWorkflowRef    string `json:"job_workflow_ref"`
	EventName         string `json:"event_name"`
	RunID             string `json:"run_id"`
	RunAttempt        string `json:"run_attempt"`
	Actor             string `json:"actor"`
}

func (v *Verifier) verify(ctx context.Context, token, audience string, at time.Time, tolerance time.Duration) (Claims, error) {
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil || len(parsed.Headers) != 1 || parsed.Headers[0].KeyID == "" {
		return Claims{}, fmt.Errorf("%w: it is no JSON Web Token signed by RS256 with a named key", ErrInvalid)
	}
	key, unknown := v.keys.find(ctx, parsed.Headers[0].KeyID)
	if unknown != nil && !errors.Is(unknown, ErrUnknownKey) {
		return Claims{}, unknown
	}
	var w wire
	if unknown != nil {
		err = parsed.UnsafeClaimsWithoutVerification(&w)
	} else {
		err = parsed.Claims(key, &w)
	}
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := v.holds(w, audience, at, tolerance); err != nil {
		return Claims{}, err
	}
	return claims(w), unknown
}

// holds checks what every token must say, whoever's it is.
func (v *Verifier) holds(w wire, audience string, at time.Time, tolerance time.Duration) error {
	if w.IssuedAt == nil || w.Expiry == nil {
		return fmt.Errorf("%w: it does not say when it is valid", ErrInvalid)
	}
	if w.Issuer != v.issuer {
		return fmt.Errorf("%w: its issuer is %q, not %q", ErrInvalid, w.Issuer, v.issuer)
	}
	if !slices.Equal(w.Audience, jwt.Audience{audience}) {
		return fmt.Errorf("%w: it was issued for %q, not for %q", ErrInvalid, []string(w.Audience), audience)
	}
	err := w.ValidateWithLeeway(jwt.Expected{Time: at}, tolerance)
	if err != nil {
		return fmt.Errorf("%w: it is valid from %s to %s, asked for is %s, give or take %s", ErrInvalid,
			clock(w.IssuedAt.Time()), clock(w.Expiry.Time()), clock(at), tolerance)
	}
	return nil
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func claims(w wire) Claims {
	return Claims{
		Issuer: w.Issuer, Subject: w.Subject, Audience: w.Audience[0],
		IssuedAt: w.IssuedAt.Time(), Expiry: w.Expiry.Time(),
		Repository: w.Repository, RepositoryID: w.RepositoryID, RepositoryOwnerID: w.RepositoryOwnerID,
		Ref: w.Ref, RefProtected: w.RefProtected, SHA: w.SHA, Environment: w.Environment, WorkflowRef: w.WorkflowRef, JobWorkflowRef: w.JobWorkflowRef,
		EventName: w.EventName, RunID: w.RunID, RunAttempt: w.RunAttempt, Actor: w.Actor,
	}
}
