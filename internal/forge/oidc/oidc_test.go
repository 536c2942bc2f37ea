package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/gapless-deploy/gapless/internal/forge/oidc"
	"github.com/gapless-deploy/gapless/internal/githubtest"
)

const audience = "gapless:gate:0123"

// stage is a repository, a job in it, and what asks in its name.
type stage struct {
	github   *githubtest.Server
	clock    *githubtest.Clock
	repo     *githubtest.Repository
	job      *githubtest.Job
	verifier *oidc.Verifier
}

func newStage(t *testing.T) *stage {
	t.Helper()
	clock := githubtest.NewClock(time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC))
	github := githubtest.New(t, githubtest.WithClock(clock))
	repo := github.Repository("shop/address-book", githubtest.Protected("main"))
	return &stage{
		github: github, clock: clock, repo: repo,
		job: repo.Run(githubtest.RunSpec{}).Job(githubtest.JobSpec{
			Name: "deploy", Environment: "canary", Permissions: githubtest.Permissions{githubtest.IDToken: githubtest.Write},
		}),
		verifier: oidc.NewVerifier(github.Issuer(), github.Client(), clock),
	}
}

func (s *stage) source() *oidc.Source {
	env := s.job.Env()
	return &oidc.Source{
		URL: env["ACTIONS_ID_TOKEN_REQUEST_URL"], Token: env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"],
		HTTP: s.github.Client(), Clock: s.clock,
	}
}

func (s *stage) token(t *testing.T) string {
	t.Helper()
	token, err := s.source().Request(t.Context(), audience)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTokenOfAJob(t *testing.T) {
	s := newStage(t)
	claims, err := s.verifier.Verify(t.Context(), s.token(t), audience)
	if err != nil {
		t.Fatal(err)
	}
	env := s.job.Env()
	for name, c := range map[string]struct{ got, want string }{
		"repository":  {claims.Repository, "shop/address-book"},
		"id":          {claims.RepositoryID, env["GITHUB_REPOSITORY_ID"]},
		"owner id":    {claims.RepositoryOwnerID, env["GITHUB_REPOSITORY_OWNER_ID"]},
		"ref":         {claims.Ref, "refs/heads/main"},
		"protected":   {claims.RefProtected, "true"},
		"sha":         {claims.SHA, env["GITHUB_SHA"]},
		"environment": {claims.Environment, "canary"},
		"workflow":    {claims.WorkflowRef, env["GITHUB_WORKFLOW_REF"]},
		"job":         {claims.JobWorkflowRef, env["GITHUB_WORKFLOW_REF"]},
		"event":       {claims.EventName, "push"},
		"run":         {claims.RunID, env["GITHUB_RUN_ID"]},
		"attempt":     {claims.RunAttempt, "1"},
		"actor":       {claims.Actor, "shop"},
		"audience":    {claims.Audience, audience},
		"subject":     {claims.Subject, "repo:shop/address-book:environment:canary"},
		"issuer":      {claims.Issuer, s.github.Issuer()},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", name, c.got, c.want)
		}
	}
	if !claims.IssuedAt.Equal(s.clock.Now()) || !claims.Expiry.After(s.clock.Now()) {
		t.Errorf("valid from %s to %s at %s", claims.IssuedAt, claims.Expiry, s.clock.Now())
	}
}

// What is not a token of the issuer's for this audience and time is refused,
// and nothing is told of it.
func TestRefusedTokens(t *testing.T) {
	s := newStage(t)
	own := s.token(t)
	tests := map[string]string{
		"for another audience":  s.job.IDToken("gapless:gate:4567", nil),
		"for two audiences":     s.job.IDToken("", map[string]any{"aud": []string{audience, "sts.amazonaws.com"}}),
		"for none":              s.job.IDToken("", map[string]any{"aud": nil}),
		"of another issuer":     s.job.IDToken(audience, map[string]any{"iss": "https://token.actions.example.com"}),
		"without an expiry":     s.job.IDToken(audience, map[string]any{"exp": nil}),
		"without a beginning":   s.job.IDToken(audience, map[string]any{"iat": nil}),
		"expired":               s.job.IDToken(audience, map[string]any{"exp": s.clock.Now().Add(-2 * time.Minute).Unix()}),
		"issued in the future":  s.job.IDToken(audience, map[string]any{"iat": s.clock.Now().Add(time.Hour).Unix()}),
		"changed":               changed(t, own),
		"cut short":             own[:len(own)-3],
		"no token":              "let me in",
		"empty":                 "",
		"signed by a stranger":  signed(t, s, jose.RS256, keyID(t, own)),
		"signed otherwise":      signed(t, s, jose.PS256, keyID(t, own)),
		"without a named key":   signed(t, s, jose.RS256, ""),
		"without any signature": unsigned(own),
	}
	for name, token := range tests {
		claims, err := s.verifier.Verify(t.Context(), token, audience)
		if !errors.Is(err, oidc.ErrInvalid) {
			t.Errorf("a token %s: %v, want %v", name, err, oidc.ErrInvalid)
		}
		if claims != (oidc.Claims{}) {
			t.Errorf("a token %s: claims %+v", name, claims)
		}
	}
	if _, err := s.verifier.Verify(t.Context(), own, audience); err != nil {
		t.Errorf("the job's own: %v", err)
	}
}

// A token is read long after it has expired: what counts is whether it was
// valid when the entry was written, by clocks that differ.
func TestVerifyAt(t *testing.T) {
	s := newStage(t)
	token, written := s.token(t), s.clock.Now()
	s.clock.Advance(90 * 24 * time.Hour)
	if _, err := s.verifier.Verify(t.Context(), token, audience); !errors.Is(err, oidc.ErrInvalid) {
		t.Errorf("months later, as if it were new: %v", err)
	}
	for off, holds := range map[time.Duration]bool{
		0: true, -14 * time.Minute: true, 19 * time.Minute: true, -16 * time.Minute: false, 21 * time.Minute: false,
		-24 * time.Hour: false,
	} {
		_, err := s.verifier.VerifyAt(t.Context(), token, audience, written.Add(off))
		if holds && err != nil || !holds && !errors.Is(err, oidc.ErrInvalid) {
			t.Errorf("an entry dated %s off: %v", off, err)
		}
	}
}

func TestKeysThatAreReplaced(t *testing.T) {
	s := newStage(t)
	before := s.token(t)
	if _, err := s.verifier.Verify(t.Context(), before, audience); err != nil {
		t.Fatal(err)
	}
	s.github.RotateKeys()
	s.clock.Advance(2 * time.Minute)
	for name, token := range map[string]string{"before": before, "after": s.token(t)} {
		if _, err := s.verifier.Verify(t.Context(), token, audience); err != nil {
			t.Errorf("a token from %s the new key: %v", name, err)
		}
	}

	s.github.ForgetKeys()
	fresh := oidc.NewVerifier(s.github.Issuer(), s.github.Client(), s.clock)
	claims, err := fresh.VerifyAt(t.Context(), before, audience, s.clock.Now())
	if !errors.Is(err, oidc.ErrUnknownKey) || errors.Is(err, oidc.ErrInvalid) {
		t.Errorf("a token of a key that is gone: %v, want %v", err, oidc.ErrUnknownKey)
	}
	if claims.Environment != "canary" {
		t.Errorf("what it claims is not told: %+v", claims)
	}
	if claims, err := fresh.Verify(t.Context(), before, audience); !errors.Is(err, oidc.ErrUnknownKey) || claims != (oidc.Claims{}) {
		t.Errorf("a new token of a key that is gone: %+v, %v", claims, err)
	}
	if _, err := fresh.VerifyAt(t.Context(), before, "gapless:other", s.clock.Now()); !errors.Is(err, oidc.ErrInvalid) {
		t.Errorf("one for another audience: %v, want %v", err, oidc.ErrInvalid)
	}
}

// Whoever shows tokens of made-up keys does not have the issuer asked for each.
func TestIssuerIsNotAskedForEachUnknownKey(t *testing.T) {
	s := newStage(t)
	for range 20 {
		token := signed(t, s, jose.RS256, "made-up")
		if _, err := s.verifier.Verify(t.Context(), token, audience); !errors.Is(err, oidc.ErrUnknownKey) {
			t.Fatal(err)
		}
	}
	if n := len(s.github.RequestsTo(http.MethodGet, "/jwks")); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

func TestIssuerThatCannotBeAsked(t *testing.T) {
	s := newStage(t)
	token := s.token(t)
	keys := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/jwks") }
	s.github.Fail(2, keys, githubtest.Status(http.StatusBadGateway))
	s.github.Fail(1, keys, githubtest.Reset())
	if _, err := s.verifier.Verify(t.Context(), token, audience); err != nil {
		t.Fatalf("after three failures: %v", err)
	}
	s.github.Fail(5, keys, githubtest.Status(http.StatusBadGateway))
	fresh := oidc.NewVerifier(s.github.Issuer(), s.github.Client(), s.clock)
	_, err := fresh.Verify(t.Context(), token, audience)
	if err == nil || errors.Is(err, oidc.ErrInvalid) || errors.Is(err, oidc.ErrUnknownKey) {
		t.Errorf("an issuer that is down: %v", err)
	}
}

func TestRequestIsRepeated(t *testing.T) {
	s := newStage(t)
	source := s.source()
	s.github.Fail(1, nil, githubtest.Status(http.StatusServiceUnavailable))
	s.github.Fail(1, nil, githubtest.Status(http.StatusBadGateway))
	s.github.Fail(1, nil, githubtest.Status(http.StatusTooManyRequests))
	if _, err := source.Request(t.Context(), audience); err != nil {
		t.Fatal(err)
	}
	if got := len(s.clock.Slept()); got != 3 {
		t.Errorf("waited %d times", got)
	}
	s.github.Fail(5, nil, githubtest.Status(http.StatusInternalServerError))
	_, err := source.Request(t.Context(), audience)
	if err == nil || errors.Is(err, oidc.ErrNoToken) {
		t.Errorf("a service that is down: %v", err)
	}
	keepsSecrets(t, err, source)
	source.URL = "http://127.0.0.1:1/?secret=yes"
	_, err = source.Request(t.Context(), audience)
	keepsSecrets(t, err, source)
}

func TestJobWithoutAToken(t *testing.T) {
	s := newStage(t)
	refused := s.source()
	refused.Token = "an old and secret one"
	for name, source := range map[string]*oidc.Source{
		"without the permission": {HTTP: s.github.Client(), Clock: s.clock},
		"with a token refused":   refused,
		"with a broken URL":      {URL: "://secret", Token: "secret token", HTTP: s.github.Client(), Clock: s.clock},
	} {
		_, err := source.Request(t.Context(), audience)
		if !errors.Is(err, oidc.ErrNoToken) {
			t.Errorf("%s: %v, want %v", name, err, oidc.ErrNoToken)
		}
		var advice interface{ Hint() string }
		if !errors.As(err, &advice) || !strings.Contains(advice.Hint(), "id-token: write") {
			t.Errorf("%s: no hint that names the permission: %v", name, err)
		}
		keepsSecrets(t, err, source)
	}
	if n := len(s.clock.Slept()); n != 0 {
		t.Errorf("what cannot change was tried %d times more", n)
	}
}

func keepsSecrets(t *testing.T, err error, source *oidc.Source) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, secret := range []string{source.URL, source.Token} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
}

// changed gives a token with another payload under the same signature.
func changed(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no token: %s", token)
	}
	middle := []byte(parts[1])
	middle[len(middle)/2] ^= 1
	return parts[0] + "." + string(middle) + "." + parts[2]
}

// unsigned gives a token that says of itself that it needs no signature.
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	return "eyJhbGciOiJub25lIn0." + parts[1] + "."
}

func keyID(t *testing.T, token string) string {
	t.Helper()
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Headers[0].KeyID
}

// signed gives a token of the right content that a stranger has signed.
func signed(t *testing.T, s *stage, algorithm jose.SignatureAlgorithm, key string) string {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: private, KeyID: key}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.Now()
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Issuer: s.github.Issuer(), Audience: jwt.Audience{audience},
		IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Minute)),
	}).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}
