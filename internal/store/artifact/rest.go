package artifact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/retry"
)

var (
	// errGone: what was listed is there no more.
	errGone = errors.New("it is there no more")
	// errStale: a signed address is not taken, for its time may be over.
	errStale = errors.New("the signed address is refused")
)

const (
	perPage = 100
	// mostPages bounds what is read of a list. A busy repository whose runs save
	// every hour has about 20 pages of beacons.
	mostPages = 50
	// redirects of the API itself, of a repository that was renamed say.
	redirects = 2
)

// rest is GitHub's API, for one repository.
type rest struct {
	client     *github.Client
	repository string // owner/name
}

// run gives the facts of a workflow run; nil where there is none.
func (r rest) run(ctx context.Context, id string) (*github.WorkflowRun, error) {
	var found github.WorkflowRun
	resp, err := r.get(ctx, "runs/"+id, nil, &found)
	if resp != nil && resp.StatusCode == http.StatusNotFound {
		return nil, nil //nolint:nilnil // there is no such run, which is no error
	}
	if err != nil {
		return nil, fmt.Errorf("look at run %s: %w", id, err)
	}
	return &found, nil
}

// inRun lists a run's artifacts; name is the only one to look for, or empty.
func (r rest) inRun(ctx context.Context, id, name string) ([]*github.Artifact, error) {
	all, err := r.list(ctx, "runs/"+id+"/artifacts", name)
	if err != nil {
		return nil, fmt.Errorf("list artifacts of run %s: %w", id, err)
	}
	return all, nil
}

// named lists the artifacts of that name in all runs.
func (r rest) named(ctx context.Context, name string) ([]*github.Artifact, error) {
	all, err := r.list(ctx, "artifacts", name)
	if err != nil {
		return nil, fmt.Errorf("list artifacts %s: %w", name, err)
	}
	return all, nil
}

// list reads all pages. A server may ignore the name, so it is compared here
// too.
func (r rest) list(ctx context.Context, path, name string) ([]*github.Artifact, error) {
	var all []*github.Artifact
	for page := 1; page <= mostPages; {
		query := url.Values{"per_page": {strconv.Itoa(perPage)}, "page": {strconv.Itoa(page)}}
		if name != "" {
			query.Set("name", name)
		}
		var list github.ArtifactList
		resp, err := r.get(ctx, path, query, &list)
		if resp != nil && resp.StatusCode == http.StatusNotFound {
			return nil, nil // the run was deleted
		}
		if err != nil {
			return nil, err
		}
		for _, a := range list.Artifacts {
			if name == "" || a.GetName() == name {
				all = append(all, a)
			}
		}
		if page = resp.NextPage; page == 0 {
			break
		}
	}
	return all, nil
}

// download gives the signed address of an artifact's zip file. The error is
// errGone where it has expired or was deleted.
func (r rest) download(ctx context.Context, id int64) (string, error) {
	owner, name, _ := strings.Cut(r.repository, "/")
	to, resp, err := r.client.Actions.DownloadArtifact(ctx, owner, name, id, redirects)
	if resp != nil && (resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusNotFound) {
		return "", errGone
	}
	if err != nil {
		return "", fmt.Errorf("artifact %d: %w", id, retry.Redact(err))
	}
	return to.String(), nil
}

func (r rest) get(ctx context.Context, path string, query url.Values, into any) (*github.Response, error) {
	address := "repos/" + r.repository + "/actions/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := r.client.NewRequest(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, retry.Redact(err)
	}
	resp, err := r.client.Do(req, into)
	err = retry.Redact(err)
	if refused, ok := errors.AsType[*github.ErrorResponse](err); ok && refused.Response.StatusCode == http.StatusForbidden {
		err = fmt.Errorf("%w (the job needs the permission actions: read)", err)
	}
	return resp, err
}
