// Package artifact keeps records as artifacts of GitHub Actions.
//
// A run that saves has one beacon, "gapless-SERVICE", by which it is found
// among all runs of the repository, and one artifact for each head,
// "gapless-SERVICE-SEQ-HASH", whose zip file holds record.json. Names are
// unique in a run and content never changes, so a name that is taken means that
// the same was saved before, which is looked at. A job that was cut short in
// the midst of an upload leaves a name that is taken with nothing behind it;
// the record is then kept under the name with "-2".
//
// A head names the run that wrote it. A record is looked for in that run alone:
// in our own by the results service, in another by GitHub's REST API, and only
// if this run was of the same repository, of an allowed branch and event, and
// of a workflow file. Without a head the newest is taken from our own run, else
// from the last ten runs with a beacon.
//
// Anybody who may push a branch can run a workflow that uploads anything, so
// nothing that is downloaded is believed: sizes are capped, the digest, the
// chain, the service and the place must be what was asked for. That a record is
// genuine and the newest is for its signatures and the platform's head to tell.
package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"sync"
	"time"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/retry"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact/results"
)

// ErrUntrusted tells that records of a run are not taken. It wraps
// rollout.ErrBroken.
var ErrUntrusted = fmt.Errorf("%w: its run is not trusted", rollout.ErrBroken)

// Clock is the time by which is waited.
type Clock = retry.Clock

// Options say where the store is and who asks. The names in capitals are the
// variables that the runner gives a step.
type Options struct {
	// ServerURL is GITHUB_SERVER_URL; empty is github.com.
	ServerURL string
	// ResultsURL is ACTIONS_RESULTS_URL.
	ResultsURL string
	// RuntimeToken is ACTIONS_RUNTIME_TOKEN, a secret.
	RuntimeToken string

	// APIURL is GITHUB_API_URL; empty is GitHub's own.
	APIURL string
	// Token is GITHUB_TOKEN, a secret. It needs the permission "actions: read".
	Token string
	// Repository is GITHUB_REPOSITORY, "owner/name"; RepositoryID is
	// GITHUB_REPOSITORY_ID.
	Repository   string
	RepositoryID int64

	// Run is GITHUB_RUN_ID, which must also be the run of what is saved.
	Run string
	// Ref is GITHUB_REF_NAME, and Branch the repository's default branch. Records
	// are taken from runs on these two.
	Ref, Branch string

	// RetentionDays is GITHUB_RETENTION_DAYS, how long the repository keeps
	// artifacts; zero where it is not known.
	RetentionDays int
	// KeepDays asks for another retention, at most RetentionDays; zero does not.
	KeepDays int

	// HTTP makes the requests. It must not add credentials of its own.
	HTTP  *http.Client
	Clock Clock
	// Warn is told what is odd and stops nothing.
	Warn func(string)
}

// Store keeps records for one job. It may be used by several goroutines.
type Store struct {
	options Options
	results *results.Client
	rest    rest
	http    *http.Client

	mu      sync.Mutex
	beacons map[string]bool             // services whose beacon is there
	listed  map[string]results.Artifact // of our own run: they never change
	runs    map[string]run              // what is looked at of other runs
}

var repositoryName = regexp.MustCompile(`^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$`)

// New gives the store of a job. Its error says what is missing, or that
// artifacts cannot be used on GitHub Enterprise Server and what to use there.
func New(o Options) (*Store, error) {
	if o.HTTP == nil || o.Clock == nil || o.Warn == nil {
		return nil, errors.New("store of artifacts: HTTP, Clock and Warn are needed")
	}
	client := retry.Client(o.HTTP, o.Clock)
	service, err := results.New(results.Options{
		ServerURL: o.ServerURL, URL: o.ResultsURL, Token: o.RuntimeToken, HTTP: client,
	})
	if err != nil {
		return nil, err
	}
	switch {
	case !runNumber.MatchString(o.Run):
		return nil, fmt.Errorf("GITHUB_RUN_ID is %q, allowed is a number", o.Run)
	case !repositoryName.MatchString(o.Repository) || o.RepositoryID <= 0:
		return nil, fmt.Errorf("GITHUB_REPOSITORY is %q and GITHUB_REPOSITORY_ID %d, allowed are OWNER/NAME and a number", o.Repository, o.RepositoryID)
	case o.Token == "":
		return nil, errors.New("github-token is empty: records of other runs are found by it, with the permission actions: read")
	case o.Ref == "" || o.Branch == "":
		return nil, fmt.Errorf("GITHUB_REF_NAME is %q and the default branch %q, both are needed", o.Ref, o.Branch)
	}
	rest, err := newREST(o, client)
	if err != nil {
		return nil, err
	}
	return &Store{
		options: o, results: service, rest: rest, http: client,
		beacons: map[string]bool{}, listed: map[string]results.Artifact{}, runs: map[string]run{},
	}, nil
}

const day = 24 * time.Hour

// Retention tells how long what is saved lives; zero where it is not known. A
// record that is gone cannot be gone on from, only taken back.
func (s *Store) Retention() time.Duration {
	kept, asked := s.options.RetentionDays, s.options.KeepDays
	if asked > 0 && (kept == 0 || asked < kept) {
		kept = asked
	}
	return time.Duration(kept) * day
}

// expires gives the end of the retention that was asked for, zero where none
// was.
func (s *Store) expires() time.Time {
	if s.options.KeepDays <= 0 {
		return time.Time{}
	}
	return s.options.Clock.Now().Add(s.Retention())
}

// shown is err without the job's tokens, should an answer have quoted one.
func (s *Store) shown(err error) error {
	return retry.Redact(err, s.options.Token, s.options.RuntimeToken)
}

// download reads the zip file at a signed address, which is asked without
// credentials. errGone says that it is there no more, errStale that the address
// is not good any more.
func (s *Store) download(ctx context.Context, signed string) (packed []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, signed, nil)
	if err != nil {
		return nil, fmt.Errorf("download: %w", retry.Redact(err))
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("download: %w", retry.Redact(err))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusGone, http.StatusNotFound:
		return nil, errGone
	case http.StatusForbidden:
		return nil, fmt.Errorf("download from %s: status %d: %w", retry.Place(signed), resp.StatusCode, errStale)
	default:
		return nil, fmt.Errorf("download from %s: status %d", retry.Place(signed), resp.StatusCode)
	}
	packed, err = io.ReadAll(io.LimitReader(resp.Body, mostZip+1))
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if len(packed) > mostZip {
		return nil, fmt.Errorf("%w: its archive has more than the %d bytes that are allowed", rollout.ErrBroken, mostZip)
	}
	return packed, nil
}

// newREST gives GitHub's API for one repository.
func newREST(o Options, client *http.Client) (rest, error) {
	set := []github.ClientOptionsFunc{
		github.WithHTTPClient(client), github.WithAuthToken(o.Token), github.WithUserAgent("gapless"),
		// The HTTP client waits for limits itself, by the clock it was given.
		github.WithDisableRateLimitCheck(),
	}
	if o.APIURL != "" {
		set = append(set, github.WithURLs(&o.APIURL, nil))
	}
	c, err := github.NewClient(set...)
	if err != nil {
		return rest{}, fmt.Errorf("GITHUB_API_URL: %w", err)
	}
	return rest{client: c, repository: o.Repository}, nil
}
