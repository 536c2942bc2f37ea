package githubtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	twirpPrefix = "/twirp/github.actions.results.api.v1.ArtifactService/"

	uploadWindow   = time.Hour
	downloadWindow = time.Minute
	maxRequest     = 1 << 20
)

// twirpError is an error as https://twitchtv.github.io/twirp/docs/errors.html
// has it.
type twirpError struct {
	Code string `json:"code"`
	Msg  string `json:"msg"`
}

func (e *twirpError) Error() string { return e.Code + ": " + e.Msg }

// twirpStatuses are the HTTP statuses of codes.
func twirpStatuses() map[string]int {
	return map[string]int{
		"malformed": http.StatusBadRequest, "invalid_argument": http.StatusBadRequest,
		"unauthenticated": http.StatusUnauthorized, "permission_denied": http.StatusForbidden,
		"bad_route": http.StatusNotFound, "not_found": http.StatusNotFound,
		"already_exists": http.StatusConflict, "failed_precondition": http.StatusPreconditionFailed,
	}
}

// twirpCode returns the code that goes with a status when no handler gave one.
func twirpCode(status int) string {
	switch status {
	case http.StatusForbidden:
		return "permission_denied"
	case http.StatusNotFound:
		return "not_found"
	case http.StatusConflict:
		return "already_exists"
	case http.StatusTooManyRequests:
		return "resource_exhausted"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return "unavailable"
	}
	return "internal"
}

func refuse(code, format string, args ...any) error {
	return &twirpError{code, fmt.Sprintf(format, args...)}
}

// The messages are those of actions/toolkit's results/api/v1/artifact.proto,
// in JSON: an int64 is a string, and a wrapped value stands for itself.
type (
	ids struct {
		Run string `json:"workflow_run_backend_id"`
		Job string `json:"workflow_job_run_backend_id"`
	}
	createRequest struct {
		ids
		Name      string     `json:"name"`
		ExpiresAt *time.Time `json:"expires_at"`
		Version   int        `json:"version"`
		MIMEType  string     `json:"mime_type"`
	}
	finalizeRequest struct {
		ids
		Name string `json:"name"`
		Size string `json:"size"`
		Hash string `json:"hash"`
	}
	listRequest struct {
		ids
		NameFilter *string `json:"name_filter"`
		IDFilter   *string `json:"id_filter"`
	}
	nameRequest struct {
		ids
		Name string `json:"name"`
	}
)

func (s *Server) serveTwirp(w http.ResponseWriter, r *http.Request) {
	said, err := s.callTwirp(w, r)
	status := http.StatusOK
	var body any = said
	if err != nil {
		var refused *twirpError
		if !errors.As(err, &refused) {
			refused = &twirpError{"malformed", err.Error()}
		}
		status, body = twirpStatuses()[refused.Code], refused
	} else if s.camelCase {
		body = camel(said)
	}
	s.write(w, answer{status: status, body: body})
}

func (s *Server) callTwirp(w http.ResponseWriter, r *http.Request) (object, error) {
	if media, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); media != "application/json" {
		return nil, refuse("bad_route", "unexpected Content-Type %q", media)
	}
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return nil, refuse("malformed", "read: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	job := s.runtime[bearer]
	if job == nil || !job.running() {
		return nil, refuse("unauthenticated", "the token is not one of a running job")
	}
	switch r.PathValue("method") {
	case "CreateArtifact":
		return serveTwirp(content, job.createArtifact)
	case "FinalizeArtifact":
		return serveTwirp(content, job.finalizeArtifact)
	case "ListArtifacts":
		return serveTwirp(content, job.listArtifacts)
	case "GetSignedArtifactURL":
		return serveTwirp(content, job.signArtifact)
	case "DeleteArtifact":
		return serveTwirp(content, job.deleteArtifact)
	}
	return nil, refuse("bad_route", "no handler for path %s", r.URL.Path)
}

func serveTwirp[T any](content []byte, serve func(T) (object, error)) (object, error) {
	var request T
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return nil, refuse("malformed", "the json request could not be decoded: %v", err)
	}
	return serve(request)
}

// own refuses ids other than those of the token.
func (job *Job) own(given ids) error {
	if given.Run != job.run.backend[job.attempt] || given.Job != job.backend {
		return refuse("permission_denied", "the ids are not those of the token")
	}
	return nil
}

func (job *Job) createArtifact(r createRequest) (object, error) {
	if err := job.own(r.ids); err != nil {
		return nil, err
	}
	if r.Name == "" || strings.ContainsAny(r.Name, "\":<>|*?\r\n\\/") || strings.ContainsFunc(r.Name, unicode.IsControl) {
		return nil, refuse("invalid_argument", "the artifact name %q is not valid", r.Name)
	}
	if r.Version != 4 && r.Version != 7 { // what upload-artifact has sent
		return nil, refuse("invalid_argument", "version is %d, not 4 or 7", r.Version)
	}
	if r.MIMEType != "" && r.Version < 7 {
		return nil, refuse("invalid_argument", "mime_type needs version 7")
	}
	expires := time.Time{}
	if r.ExpiresAt != nil {
		if expires = *r.ExpiresAt; !expires.After(job.run.s.now()) {
			return nil, refuse("invalid_argument", "expires_at lies in the past")
		}
	}
	for _, a := range job.run.artifacts {
		if a.Name == r.Name && a.job.attempt == job.attempt {
			return nil, refuse("already_exists", "an artifact with this name already exists on the workflow run")
		}
	}
	a := job.newArtifact(r.Name, expires)
	return object{"ok": true, "signed_upload_url": job.run.s.signedURL(a, "w", uploadWindow)}, nil
}

func (job *Job) finalizeArtifact(r finalizeRequest) (object, error) {
	if err := job.own(r.ids); err != nil {
		return nil, err
	}
	a := job.named(r.Name, job.attempt)
	switch {
	case a == nil || a.finished || a.job != job:
		return nil, refuse("not_found", "no upload of artifact %q is open", r.Name)
	case !a.committed:
		return nil, refuse("failed_precondition", "nothing was uploaded for artifact %q", r.Name)
	case r.Size != strconv.Itoa(len(a.content)):
		return nil, refuse("invalid_argument", "size is %s, uploaded were %d bytes", r.Size, len(a.content))
	case r.Hash != a.digest():
		return nil, refuse("invalid_argument", "hash is %q, that of the upload is %s", r.Hash, a.digest())
	}
	a.finished, a.created = true, job.run.s.now()
	return object{"ok": true, "artifact_id": strconv.FormatInt(a.ID, 10)}, nil
}

// named returns the newest artifact with a name, of one attempt unless that is
// 0.
func (job *Job) named(name string, attempt int) *Artifact {
	var newest *Artifact
	for _, a := range job.run.artifacts {
		if a.Name == name && (attempt == 0 || a.job.attempt == attempt) {
			newest = a
		}
	}
	return newest
}

func (job *Job) listArtifacts(r listRequest) (object, error) {
	if err := job.own(r.ids); err != nil {
		return nil, err
	}
	found := []object{}
	for _, a := range job.run.finished() {
		id := strconv.FormatInt(a.ID, 10)
		if a.expired() || r.NameFilter != nil && *r.NameFilter != a.Name || r.IDFilter != nil && *r.IDFilter != id {
			continue
		}
		found = append(found, object{
			"workflow_run_backend_id": a.run().backend[a.job.attempt], "workflow_job_run_backend_id": a.job.backend,
			"database_id": id, "name": a.Name, "size": strconv.Itoa(len(a.content)),
			"created_at": a.created.Format(time.RFC3339Nano), "digest": a.digest(),
		})
	}
	return object{"artifacts": found}, nil
}

// ofRun returns a finished artifact by the ids that the list gives it.
func (job *Job) ofRun(r nameRequest) (*Artifact, error) {
	for _, a := range job.run.finished() {
		if a.Name == r.Name && r.Run == a.run().backend[a.job.attempt] && r.Job == a.job.backend && !a.expired() {
			return a, nil
		}
	}
	return nil, refuse("not_found", "no artifact %q with these ids in the run", r.Name)
}

func (job *Job) signArtifact(r nameRequest) (object, error) {
	a, err := job.ofRun(r)
	if err != nil {
		return nil, err
	}
	return object{"name": a.Name, "signed_url": job.run.s.signedURL(a, "r", downloadWindow)}, nil
}

func (job *Job) deleteArtifact(r nameRequest) (object, error) {
	a, err := job.ofRun(r)
	if err != nil {
		return nil, err
	}
	a.remove()
	return object{"ok": true, "artifact_id": strconv.FormatInt(a.ID, 10)}, nil
}

// camel returns an answer with its names in camelCase.
func camel(value any) any {
	switch value := value.(type) {
	case object:
		renamed := object{}
		for name, inner := range value {
			words := strings.Split(name, "_")
			for i, word := range words[1:] {
				words[i+1] = strings.ToUpper(word[:1]) + word[1:]
			}
			renamed[strings.Join(words, "")] = camel(inner)
		}
		return renamed
	case []object:
		renamed := make([]any, len(value))
		for i, inner := range value {
			renamed[i] = camel(inner)
		}
		return renamed
	}
	return value
}
