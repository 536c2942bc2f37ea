package githubtest

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Artifact is an artifact of a run.
type Artifact struct {
	// ID and Name are as in the REST API.
	ID   int64
	Name string

	job       *Job
	blob      string // its name in the store
	blocks    map[string][]byte
	sent      []string // ids of blocks, in the order in which they came
	content   []byte   // once the list of blocks is put
	committed bool
	finished  bool
	created   time.Time
	expires   time.Time
}

// run of the artifact, by the job that uploads it.
func (a *Artifact) run() *Run { return a.job.run }

func (a *Artifact) expired() bool { return !a.run().s.now().Before(a.expires) }

func (a *Artifact) digest() string {
	sum := sha256.Sum256(a.content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Artifact adds a finished artifact of any name to the job's run, as a step
// with upload-artifact does, whatever the job's permissions are: files are its
// content by name. An attacker's run, of a fork, of another branch or workflow,
// can do that too.
func (job *Job) Artifact(name string, files map[string][]byte) *Artifact {
	s := job.run.s
	s.tb.Helper()
	content, err := zipped(files)
	if err != nil {
		s.tb.Fatalf("githubtest: artifact %s: %v", name, err)
	}
	return job.RawArtifact(name, content)
}

// RawArtifact is like Artifact with the content of what should be a zip file.
func (job *Job) RawArtifact(name string, content []byte) *Artifact {
	s := job.run.s
	s.mu.Lock()
	defer s.mu.Unlock()
	a := job.newArtifact(name, time.Time{})
	a.content, a.committed, a.finished = content, true, true
	return a
}

func (job *Job) newArtifact(name string, expires time.Time) *Artifact {
	s := job.run.s
	a := &Artifact{ID: s.newID(), Name: name, job: job, blob: newUUID() + "/" + newUUID(), blocks: map[string][]byte{},
		created: s.now(), expires: s.now().AddDate(0, 0, job.run.repo.retention)}
	if !expires.IsZero() && expires.Before(a.expires) {
		a.expires = expires
	}
	job.run.artifacts = append(job.run.artifacts, a)
	s.blobs[a.blob] = a
	return a
}

func zipped(files map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, err := w.Create(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := file.Write(files[name]); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	return out.Bytes(), nil
}

// Expire ends the time for which an artifact is kept.
func (s *Server) Expire(a *Artifact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.expires = s.now()
}

// Artifacts returns the finished artifacts of the run, oldest first.
func (run *Run) Artifacts() []*Artifact {
	run.s.mu.Lock()
	defer run.s.mu.Unlock()
	return run.finished()
}

// Content is the zip file that was uploaded.
func (a *Artifact) Content() []byte {
	a.run().s.mu.Lock()
	defer a.run().s.mu.Unlock()
	return bytes.Clone(a.content)
}

// Remove deletes it, as a token with actions: write can.
func (a *Artifact) Remove() {
	a.run().s.mu.Lock()
	defer a.run().s.mu.Unlock()
	a.remove()
}

func (a *Artifact) remove() {
	run := a.run()
	run.artifacts = slices.DeleteFunc(run.artifacts, func(other *Artifact) bool { return other == a })
	delete(run.s.blobs, a.blob)
}

func (run *Run) finished() []*Artifact {
	return slices.DeleteFunc(slices.Clone(run.artifacts), func(a *Artifact) bool { return !a.finished })
}

func (a *Artifact) view() object {
	run := a.run()
	url := fmt.Sprintf("%s/actions/artifacts/%d", run.repo.url(), a.ID)
	return object{
		"id": a.ID, "node_id": "AR", "name": a.Name, "size_in_bytes": len(a.content), "digest": a.digest(),
		"url": url, "archive_download_url": url + "/zip", "expired": a.expired(),
		"created_at": a.created, "updated_at": a.created, "expires_at": a.expires,
		"workflow_run": object{"id": run.ID, "repository_id": run.repo.ID, "head_repository_id": run.head.ID,
			"head_branch": run.branch, "head_sha": run.headSHA},
	}
}

func artifactOperations() map[string]*operation {
	reading := []need{{Actions, Read}}
	return map[string]*operation{
		"GET /repos/{owner}/{repo}/actions/artifacts": {needs: reading, serve: func(c *call) answer {
			var all []*Artifact
			for _, run := range c.runs {
				if run.repo == c.repo {
					all = append(all, run.finished()...)
				}
			}
			return c.artifacts(all)
		}},
		"GET /repos/{owner}/{repo}/actions/runs/{run_id}/artifacts": {needs: reading, serve: func(c *call) answer {
			run := c.run()
			if run == nil {
				return notFound()
			}
			return c.artifacts(run.finished())
		}},
		"GET /repos/{owner}/{repo}/actions/artifacts/{artifact_id}": {needs: reading, serve: func(c *call) answer {
			if a := c.artifact(); a != nil {
				return ok(a.view())
			}
			return notFound()
		}},
		"GET /repos/{owner}/{repo}/actions/artifacts/{artifact_id}/{archive_format}": {needs: reading, serve: func(c *call) answer {
			a := c.artifact()
			switch {
			case a == nil || c.params["archive_format"] != "zip":
				return notFound()
			case a.expired():
				return failed(http.StatusGone, "Artifact has expired")
			}
			return answer{status: http.StatusFound, header: map[string]string{"Location": c.signedURL(a, "r", downloadWindow)}}
		}},
	}
}

// artifacts answers with those that have the name asked for, newest first.
func (c *call) artifacts(all []*Artifact) answer {
	query := c.request.URL.Query()
	if query.Has("name") {
		all = slices.DeleteFunc(all, func(a *Artifact) bool { return a.Name != query.Get("name") })
	}
	slices.SortFunc(all, func(a, b *Artifact) int { return int(b.ID - a.ID) })
	if query.Get("direction") == "asc" {
		slices.Reverse(all)
	}
	return paged(c, all, listOf("artifacts", (*Artifact).view))
}

func (c *call) artifact() *Artifact {
	id, err := strconv.ParseInt(c.params["artifact_id"], 10, 64)
	if err != nil {
		return nil
	}
	for _, run := range c.runs {
		i := slices.IndexFunc(run.artifacts, func(a *Artifact) bool { return a.ID == id && a.finished })
		if i >= 0 && run.repo == c.repo {
			return run.artifacts[i]
		}
	}
	return nil
}
