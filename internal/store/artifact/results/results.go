// Package results speaks version 4 of the artifact protocol with the results
// service of GitHub Actions, as a step of a job does.
//
// An artifact is created by name, which gives a signed URL; its zip file is
// uploaded there as an Azure block blob; then it is finished (FinalizeArtifact)
// with size and SHA-256, and from then on is listed, and never changes. Names are unique in a
// run, also those of artifacts that were created and never finished.
package results

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/retry"
)

// ErrExists tells that the run has an artifact of that name, finished or not.
var ErrExists = errors.New("an artifact of this name exists in the run")

const (
	service = "/twirp/github.actions.results.api.v1.ArtifactService/"
	// version is the protocol's, as far as actions/toolkit counts.
	version  = 7
	mimeType = "application/zip"
	// mostAnswer bounds what is read of an answer. A run has up to 500 artifacts
	// a job.
	mostAnswer = 16 << 20
	// mostMessage bounds what an error quotes of one.
	mostMessage = 300
)

// Options say where the service is, and who asks.
type Options struct {
	// ServerURL is GITHUB_SERVER_URL; empty is github.com.
	ServerURL string
	// URL is ACTIONS_RESULTS_URL, of which only scheme and host count.
	URL string
	// Token is ACTIONS_RUNTIME_TOKEN.
	Token string
	// HTTP makes the requests, see retry.Client. None of them is signed but by
	// what is sent.
	HTTP *http.Client
}

// Client speaks for one job.
type Client struct {
	origin, token string
	ids           ids
	http          *http.Client
}

// Artifact is one that is finished.
type Artifact struct {
	Name string
	// Digest is "sha256:" and the hex of the zip's; empty where it is not told.
	Digest string

	ids ids
}

// New gives the client of the job that the token is for. Its error says what
// is missing, or that the service is not there on GitHub Enterprise Server.
func New(o Options) (*Client, error) {
	base, err := origin(o.ServerURL, o.URL)
	if err != nil {
		return nil, err
	}
	own, err := idsOf(o.Token)
	if err != nil {
		return nil, err
	}
	return &Client{origin: base, token: o.Token, ids: own, http: o.HTTP}, nil
}

// Put keeps content, a zip file, as an artifact, and returns once it is
// finished. expires may be zero: then it lives as long as the repository says.
// The error wraps ErrExists where the name is taken.
func (c *Client) Put(ctx context.Context, name string, content []byte, expires time.Time) error {
	ask := createRequest{ids: c.ids, Name: name, MimeType: mimeType, Version: version}
	if !expires.IsZero() {
		ask.Expires = expires.UTC().Format(time.RFC3339)
	}
	var created createAnswer
	if err := c.call(ctx, "CreateArtifact", name, ask, &created); err != nil {
		return err
	}
	if !created.OK || created.URL == "" {
		return fmt.Errorf("CreateArtifact %s: not accepted", name)
	}
	if err := c.upload(ctx, created.URL, content); err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return c.finish(ctx, name, content)
}

// finish is done where the answer was lost and the artifact is listed.
func (c *Client) finish(ctx context.Context, name string, content []byte) error {
	digest := Digest(content)
	var done finalizeAnswer
	err := c.call(ctx, "FinalizeArtifact", name, finalizeRequest{
		ids: c.ids, Name: name, Size: int64(len(content)), Hash: digest,
	}, &done)
	if err == nil && !done.OK {
		err = fmt.Errorf("FinalizeArtifact %s: not accepted", name)
	}
	if err == nil {
		return nil
	}
	listed, lerr := c.List(ctx, name)
	for _, a := range listed {
		if a.Digest == digest {
			return nil
		}
	}
	return errors.Join(err, lerr)
}

// List gives the artifacts of this run, those of its other jobs too; name is
// the only one to look for, or empty.
func (c *Client) List(ctx context.Context, name string) ([]Artifact, error) {
	var answer listAnswer
	if err := c.call(ctx, "ListArtifacts", name, listRequest{ids: c.ids, Name: name}, &answer); err != nil {
		return nil, err
	}
	var all []Artifact
	for _, a := range answer.Artifacts {
		if name == "" || a.Name == name {
			all = append(all, Artifact{Name: a.Name, Digest: a.Digest, ids: ids{Run: a.Run, Job: a.Job}})
		}
	}
	return all, nil
}

// SignedURL gives the address of the artifact's zip file, which is a secret and
// good for some minutes.
func (c *Client) SignedURL(ctx context.Context, a Artifact) (string, error) {
	var answer urlAnswer
	err := c.call(ctx, "GetSignedArtifactURL", a.Name, urlRequest{ids: a.ids, Name: a.Name}, &answer)
	if err == nil && answer.URL == "" {
		err = fmt.Errorf("GetSignedArtifactURL %s: no address in the answer", a.Name)
	}
	return answer.URL, err
}

// Digest is how the service names content.
func Digest(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (c *Client) call(ctx context.Context, method, name string, ask, answer any) (err error) {
	body, err := json.Marshal(ask)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, name, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin+service+method, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, name, retry.Redact(err))
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gapless")
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, name, retry.Redact(err))
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %w", method, name, c.refusal(resp.StatusCode, data))
	}
	if err := decode(data, answer); err != nil {
		return fmt.Errorf("%s %s: the answer cannot be read: %w", method, name, err)
	}
	return nil
}

func (c *Client) refusal(status int, data []byte) error {
	var said errorAnswer
	if err := decode(data, &said); err != nil {
		said.Message = "" // a page of a proxy, say: the status tells more
	}
	if status == http.StatusConflict || said.Code == "already_exists" {
		return ErrExists
	}
	message := retry.Scrub(strings.TrimSpace(said.Code+" "+said.Message), c.token)
	return fmt.Errorf("status %d %s", status, message[:min(len(message), mostMessage)])
}
