// Package githubtest is a fake GitHub for tests: as much of it as a job of a
// workflow meets. It is stateful and strict, and follows what is published:
//
//   - the REST API, below /api/v3: every request and every answer is held
//     against GitHub's OpenAPI description (npm @octokit/openapi). What the fake
//     does not model has the emptiest value that the description allows.
//   - the artifact service, below /twirp, as github.com/actions/toolkit speaks
//     to it, with Azure's Put Block and Put Block List for the content.
//   - the OIDC issuer and the runner's token endpoint, as in "About security
//     hardening with OpenID Connect".
//   - what the runner exports to a job, as in "Variables reference".
//
// A test builds the state (Repository, Environment, PullRequest, Run, Job),
// gives Job.Env to what is tested and asserts on Comments, Requests and the
// like. A request that GitHub would not understand fails the test, and so does
// an operation that the fake does not have.
//
// It is stricter than GitHub where tests gain by it: a permission to read is
// asked for also of what is public, unknown members and parameters are
// refused, a waiting job has no environment, and blocks are listed in the order
// in which they came.
package githubtest

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Server is a fake GitHub. Its methods may be called at the same time as
// requests are served.
type Server struct {
	tb    testing.TB
	http  *httptest.Server
	clock interface{ Now() time.Time }

	address, host string // where it listens, and what URLs call it
	camelCase     bool
	enterprise    bool
	description   *description

	mu           sync.Mutex
	lastID       int64
	users        map[string]*user
	repositories map[string]*Repository
	runs         map[int64]*Run
	tokens       map[string]*token
	runtime      map[string]*Job // by runtime token
	idRequests   map[string]*Job // by ID token request token
	blobs        map[string]*Artifact
	keys         []signingKey
	secret       []byte // signs URLs
	faults       []*fault
	requests     []Request
	calls        int
}

// Option changes what New builds.
type Option func(*Server)

// Listen makes the server listen on an address such as "0.0.0.0:0", and host
// is what the URLs that it gives call it: a container reaches the test by
// another name than 127.0.0.1.
func Listen(address, host string) Option {
	return func(s *Server) { s.address, s.host = address, host }
}

// WithClock makes the server take the time from a clock: expiry, the validity
// of tokens and signed URLs, and every date in an answer.
func WithClock(clock interface{ Now() time.Time }) Option {
	return func(s *Server) { s.clock = clock }
}

// CamelCase makes the artifact service answer in camelCase, as act's does;
// GitHub's answers in snake_case.
func CamelCase() Option { return func(s *Server) { s.camelCase = true } }

// Enterprise makes it an Enterprise Server: GITHUB_SERVER_URL is none of
// GitHub's own and ACTIONS_RESULTS_URL is missing.
func Enterprise() Option { return func(s *Server) { s.enterprise = true } }

type systemClock struct{}

// Now returns the time.
func (systemClock) Now() time.Time { return time.Now() }

// New starts a fake GitHub that ends with the test. A fault in how it is used
// fails the test.
func New(tb testing.TB, options ...Option) *Server {
	tb.Helper()
	described, err := describe()
	if err != nil {
		tb.Fatalf("githubtest: %v", err)
	}
	s := &Server{
		tb: tb, clock: systemClock{}, address: "127.0.0.1:0", description: described,
		lastID: 1000, users: map[string]*user{}, repositories: map[string]*Repository{}, runs: map[int64]*Run{},
		tokens: map[string]*token{}, runtime: map[string]*Job{}, idRequests: map[string]*Job{},
		blobs: map[string]*Artifact{}, secret: randomBytes(),
	}
	for _, option := range options {
		option(s)
	}
	s.users[botLogin] = &user{login: botLogin, id: botID, kind: "Bot"}
	s.addKey(firstKey())
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		tb.Fatalf("githubtest: %v", err)
	}
	s.http = httptest.NewUnstartedServer(s.handler())
	if err := s.http.Listener.Close(); err != nil { // its own, which is not used
		tb.Fatalf("githubtest: %v", err)
	}
	s.http.Listener = listener
	s.http.Start()
	tb.Cleanup(s.http.Close)
	return s
}

// URL is the server's origin, without a slash at its end.
func (s *Server) URL() string {
	if s.host == "" {
		return s.http.URL
	}
	own, err := url.Parse(s.http.URL)
	if err != nil {
		return s.http.URL // httptest made it
	}
	return "http://" + net.JoinHostPort(s.host, own.Port())
}

// APIURL is the base of the REST API, GITHUB_API_URL.
func (s *Server) APIURL() string { return s.URL() + apiPrefix }

// ServerURL is GITHUB_SERVER_URL. Pages are never asked for, so it is the one
// that the real GitHub has, the same in each run.
func (s *Server) ServerURL() string {
	if s.enterprise {
		return "https://github.example.com"
	}
	return "https://github.com"
}

// Client returns a client for requests to the server.
func (s *Server) Client() *http.Client { return s.http.Client() }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(apiPrefix+"/", s.serveREST)
	mux.HandleFunc("POST "+twirpPrefix+"{method}", s.serveTwirp)
	mux.HandleFunc("PUT "+blobPrefix, s.serveUpload)
	mux.HandleFunc("GET "+blobPrefix, s.serveDownload)
	mux.HandleFunc("GET "+idTokenPath, s.serveIDToken)
	mux.HandleFunc("GET "+issuerPath+"/.well-known/openid-configuration", s.serveDiscovery)
	mux.HandleFunc("GET "+issuerPath+"/.well-known/jwks", s.serveKeys)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.tb.Errorf("githubtest: %s %s is not served", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	return s.recorded(s.faulty(mux))
}

func (s *Server) now() time.Time { return s.clock.Now().UTC() }
