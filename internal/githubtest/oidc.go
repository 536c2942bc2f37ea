package githubtest

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

const (
	issuerPath  = "/_services/token" // as an Enterprise Server has it
	idTokenPath = "/_services/idtoken"
	tokenLife   = 5 * time.Minute
)

type signingKey struct {
	id      string
	private *rsa.PrivateKey
}

// Issuer is the issuer of ID tokens.
func (s *Server) Issuer() string { return s.URL() + issuerPath }

// RotateKeys makes a new key that tokens are signed by from now on; the former
// ones are still published.
func (s *Server) RotateKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addKey(newKey())
}

// ForgetKeys makes a new key and publishes no other: tokens from before can
// no longer be verified.
func (s *Server) ForgetKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = nil
	s.addKey(newKey())
}

// firstKey is every server's first key: making one takes long.
//
//nolint:gochecknoglobals // The testing package offers no other place that outlives a test.
var firstKey = sync.OnceValues(newKey)

func newKey() (signingKey, error) {
	const bits = 2048
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return signingKey{}, fmt.Errorf("make key: %w", err)
	}
	return signingKey{rand.Text(), private}, nil
}

func (s *Server) addKey(key signingKey, err error) {
	if err != nil {
		s.tb.Errorf("githubtest: %v", err)
		return
	}
	s.keys = append(s.keys, key)
}

// signed returns claims as a JWT; the lock is held.
func (s *Server) signed(claims object) string {
	key := s.keys[len(s.keys)-1]
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key.private, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		s.tb.Errorf("githubtest: sign: %v", err)
		return ""
	}
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		s.tb.Errorf("githubtest: sign: %v", err)
	}
	return token
}

// IDToken returns an ID token of the job, whether or not it may ask for one,
// with some claims changed: what somebody else's job, or a forger with
// GitHub's key, would have.
func (job *Job) IDToken(audience string, changed map[string]any) string {
	s := job.run.s
	s.tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	claims := job.claims(audience)
	for name, value := range changed {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	return s.signed(claims)
}

// claims are those of "OpenID Connect reference".
func (job *Job) claims(audience string) object {
	run, repo, s := job.run, job.run.repo, job.run.s
	now := s.now()
	workflow := run.spec.Workflow
	if job.spec.Workflow != "" {
		workflow = job.spec.Workflow
	}
	claims := object{
		"jti": newUUID(), "iss": s.Issuer(), "aud": audience, "sub": job.subject(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLife).Unix(),
		"ref": run.ref, "ref_type": "branch", "ref_protected": strconv.FormatBool(repo.protected[strings.TrimPrefix(run.ref, "refs/heads/")]),
		"sha": run.sha, "repository": repo.FullName(), "repository_id": strconv.FormatInt(repo.ID, 10),
		"repository_owner": repo.Owner, "repository_owner_id": strconv.FormatInt(repo.OwnerID, 10),
		"repository_visibility": repo.visibility(), "run_id": strconv.FormatInt(run.ID, 10),
		"run_number": strconv.Itoa(run.number), "run_attempt": strconv.Itoa(job.attempt),
		"actor": run.spec.Actor, "actor_id": strconv.FormatInt(s.user(run.spec.Actor).id, 10),
		"workflow": run.spec.Name, "workflow_ref": run.workflowRef(), "workflow_sha": run.sha,
		"job_workflow_ref": run.refOf(workflow), "job_workflow_sha": run.sha,
		"event_name": run.spec.Event, "head_ref": "", "base_ref": "", "runner_environment": "github-hosted",
	}
	if pull := run.spec.PullRequest; run.spec.Event == OnPullRequest {
		claims["head_ref"], claims["base_ref"] = pull.branch, pull.base
	}
	if job.environment != nil {
		claims["environment"] = job.environment.Name
	}
	return claims
}

// subject is the claim "sub", which a job's environment decides first.
func (job *Job) subject() string {
	repo := job.run.repo
	name := "repo:" + repo.FullName()
	if repo.subjectWithIDs {
		name = fmt.Sprintf("repo:%s@%d/%s@%d", repo.Owner, repo.OwnerID, repo.Name, repo.ID)
	}
	switch {
	case job.environment != nil:
		return name + ":environment:" + strings.ReplaceAll(job.environment.Name, ":", "%3A")
	case job.run.spec.Event == OnPullRequest:
		return name + ":pull_request"
	}
	return name + ":ref:" + job.run.ref
}

// serveIDToken is the runner's endpoint.
func (s *Server) serveIDToken(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	job := s.idRequests[bearer]
	if job == nil || !job.running() {
		s.write(w, answer{status: http.StatusUnauthorized, body: object{"message": "the token is not one of a running job"}})
		return
	}
	audience := r.URL.Query().Get("audience")
	if audience == "" {
		audience = s.ServerURL() + "/" + job.run.repo.Owner
	}
	token := s.signed(job.claims(audience))
	s.write(w, answer{status: http.StatusOK, body: object{"count": len(token), "value": token}})
}

func (s *Server) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	s.write(w, answer{status: http.StatusOK, body: object{
		"issuer": s.Issuer(), "jwks_uri": s.Issuer() + "/.well-known/jwks",
		"subject_types_supported": []string{"public", "pairwise"}, "response_types_supported": []string{"id_token"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "scopes_supported": []string{"openid"},
	}})
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var published jose.JSONWebKeySet
	for _, key := range s.keys {
		published.Keys = append(published.Keys, jose.JSONWebKey{Key: key.private.Public(), KeyID: key.id, Algorithm: string(jose.RS256), Use: "sig"})
	}
	s.write(w, answer{status: http.StatusOK, body: published})
}
