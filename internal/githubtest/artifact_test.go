package githubtest_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/google/go-github/v90/github"

	"github.com/gapless-deploy/gapless/internal/githubtest"
)

// service speaks to the artifact service as a job does.
type service struct {
	t            *testing.T
	url, token   string
	runID, jobID string // backend ids
}

func newService(t *testing.T, job *githubtest.Job) *service {
	t.Helper()
	env := job.Env()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(env["ACTIONS_RUNTIME_TOKEN"], ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	scopes, _ := decode(t, string(payload))["scp"].(string)
	for scope := range strings.FieldsSeq(scopes) {
		if part := strings.Split(scope, ":"); part[0] == "Actions.Results" {
			return &service{t: t, url: strings.TrimSuffix(env["ACTIONS_RESULTS_URL"], "/") + "/twirp/github.actions.results.api.v1.ArtifactService/",
				token: env["ACTIONS_RUNTIME_TOKEN"], runID: part[1], jobID: part[2]}
		}
	}
	t.Fatalf("scopes %q", scopes)
	return nil
}

// call calls a method with the job's ids and more; the status is asserted.
func (s *service) call(want int, method string, more object) object {
	s.t.Helper()
	request := object{"workflow_run_backend_id": s.runID, "workflow_job_run_backend_id": s.jobID}
	maps.Copy(request, more)
	body, err := json.Marshal(request)
	if err != nil {
		s.t.Fatal(err)
	}
	return decode(s.t, status(s.t, want, "POST", s.url+method, s.token, string(body)))
}

// list lists the artifacts that the job sees.
func (s *service) list(filter object) []object {
	s.t.Helper()
	var all []object
	listed, _ := s.call(http.StatusOK, "ListArtifacts", filter)["artifacts"].([]any)
	for _, entry := range listed {
		entry, _ := entry.(object)
		all = append(all, entry)
	}
	return all
}

func (s *service) create(name string) string {
	s.t.Helper()
	url, _ := s.call(http.StatusOK, "CreateArtifact", object{"name": name, "version": 7, "mime_type": "application/zip"})["signed_upload_url"].(string)
	return url
}

func (s *service) finish(want int, name string, content []byte) object {
	s.t.Helper()
	sum := sha256.Sum256(content)
	return s.call(want, "FinalizeArtifact", object{"name": name, "size": strconv.Itoa(len(content)), "hash": "sha256:" + hex.EncodeToString(sum[:])})
}

func block(n int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "block-%04d", n)) }

// put uploads blocks and lists them in an order.
func (s *service) put(want int, url string, blocks []string, order ...int) string {
	s.t.Helper()
	for i, content := range blocks {
		status(s.t, http.StatusCreated, "PUT", url+"&comp=block&blockid="+escape(block(i)), "", content)
	}
	return status(s.t, want, "PUT", url+"&comp=blocklist", "", listed(order...))
}

func listed(order ...int) string {
	var list strings.Builder
	list.WriteString(`<?xml version="1.0" encoding="utf-8"?><BlockList>`)
	for _, n := range order {
		list.WriteString("<Latest>" + block(n) + "</Latest>")
	}
	return list.String() + "</BlockList>"
}

func escape(id string) string {
	return strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(id)
}

func TestArtifactFromUploadToDownload(t *testing.T) {
	clock := noon()
	s := githubtest.New(t, githubtest.WithClock(clock))
	_, job := shop(s, githubtest.JobSpec{})
	a := newService(t, job)
	url := a.create("gapless-shop")
	a.put(http.StatusCreated, url, []string{"one", "two", "three"}, 0, 1, 2)
	content := []byte("onetwothree")

	other := newService(t, job.Run().Job(githubtest.JobSpec{Name: "promote"}))
	if got := other.list(nil); len(got) != 0 {
		t.Errorf("an artifact is seen before it is finished: %v", got)
	}
	c := client(t, s, job.Token())
	inREST := func() *github.ArtifactList {
		t.Helper()
		all, _, err := c.Actions.ListArtifacts(t.Context(), "acme", "shop", &github.ListArtifactsOptions{Name: new("gapless-shop")})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if got := inREST(); got.GetTotalCount() != 0 {
		t.Errorf("REST shows %v before it is finished", got)
	}
	made := a.finish(http.StatusOK, "gapless-shop", content)
	id, _ := made["artifact_id"].(string)
	all := other.list(object{"name_filter": "gapless-shop", "id_filter": id})
	if len(all) != 1 {
		t.Fatalf("listed %v", all)
	}
	entry := all[0]
	sum := sha256.Sum256(content)
	if entry["database_id"] != id || entry["size"] != "11" || entry["digest"] != "sha256:"+hex.EncodeToString(sum[:]) || entry["workflow_job_run_backend_id"] != a.jobID {
		t.Errorf("entry %v", entry)
	}
	other.jobID = a.jobID
	signed, _ := other.call(http.StatusOK, "GetSignedArtifactURL", object{"name": "gapless-shop"})["signed_url"].(string)
	if got := status(t, http.StatusOK, "GET", signed, "", ""); got != string(content) {
		t.Errorf("downloaded %q", got)
	}
	status(t, http.StatusBadRequest, "GET", signed, job.Token(), "") // a token has no business there

	entryREST := inREST().Artifacts[0]
	location, _, err := c.Actions.DownloadArtifact(t.Context(), "acme", "shop", entryREST.GetID(), 0)
	if err != nil {
		t.Fatal(err)
	}
	status(t, http.StatusOK, "GET", location.String(), "", "")
	status(t, http.StatusForbidden, "GET", strings.Replace(location.String(), "sig=", "sig=x", 1), "", "")
	status(t, http.StatusForbidden, "PUT", strings.Replace(location.String(), "sp=r", "sp=w", 1)+"&comp=block&blockid=eA%3D%3D", "", "x")
	clock.Advance(time.Minute)
	status(t, http.StatusForbidden, "GET", location.String(), "", "")

	status(t, http.StatusConflict, "PUT", url+"&comp=block&blockid="+escape(block(0)), "", "late")
	clock.Advance(90 * 24 * time.Hour)
	_, _, err = c.Actions.DownloadArtifact(t.Context(), "acme", "shop", entryREST.GetID(), 0)
	if err == nil || !strings.Contains(err.Error(), "410") {
		t.Errorf("error %v, want 410", err)
	}
	if !inREST().Artifacts[0].GetExpired() {
		t.Error("it is not shown as expired")
	}
}

func TestUploadIsStrict(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	a := newService(t, job)
	url := a.create("one")
	status(t, http.StatusBadRequest, "PUT", url, "", "whole", "x-ms-blob-type", "BlockBlob")
	if got := status(t, http.StatusBadRequest, "PUT", url, "", "whole"); !strings.Contains(got, "MissingRequiredHeader") {
		t.Errorf("without a type: %s", got)
	}
	status(t, http.StatusForbidden, "PUT", strings.Replace(url, "sig=", "sig=x", 1)+"&comp=block&blockid=eA%3D%3D", "", "x")
	status(t, http.StatusForbidden, "GET", url, "", "")
	status(t, http.StatusBadRequest, "PUT", url+"&comp=page", "", "x")
	status(t, http.StatusBadRequest, "PUT", url+"&comp=block&blockid=%21", "", "x")
	a.finish(http.StatusPreconditionFailed, "one", nil)

	blocks := []string{"1", "2", "3"}
	for _, order := range [][]int{{1, 0, 2}, {0, 1}, {0, 1, 2, 3}, {}} {
		if got := a.put(http.StatusBadRequest, url, blocks, order...); !strings.Contains(got, "InvalidBlockList") {
			t.Errorf("order %v: %s", order, got)
		}
	}
	status(t, http.StatusBadRequest, "PUT", url+"&comp=block&blockid=eA%3D%3D", "", "another length of id")
	status(t, http.StatusBadRequest, "PUT", url+"&comp=blocklist", "", "<BlockList>")
	a.put(http.StatusCreated, url, blocks, 0, 1, 2)
	a.finish(http.StatusBadRequest, "one", []byte("124"))
	a.finish(http.StatusBadRequest, "one", []byte("1234"))
	a.finish(http.StatusNotFound, "two", []byte("123"))
	a.finish(http.StatusOK, "one", []byte("123"))
	a.finish(http.StatusNotFound, "one", []byte("123"))
}

// TestUploadByAzuresClient uploads as the toolkit does: by Azure's own client.
func TestUploadByAzuresClient(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	a := newService(t, job)
	blob, err := blockblob.NewClientWithNoCredential(a.create("one"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for i, part := range []string{"one", "two"} {
		ids = append(ids, block(i))
		if _, err := blob.StageBlock(t.Context(), ids[i], streaming.NopCloser(strings.NewReader(part)), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := blob.CommitBlockList(t.Context(), ids, nil); err != nil {
		t.Fatal(err)
	}
	a.finish(http.StatusOK, "one", []byte("onetwo"))
	if got := job.Run().Artifacts(); len(got) != 1 || string(got[0].Content()) != "onetwo" {
		t.Errorf("artifacts %v", got)
	}
}

func TestCreateArtifactIsStrict(t *testing.T) {
	s := githubtest.New(t)
	_, job := shop(s, githubtest.JobSpec{})
	a := newService(t, job)
	for _, c := range "\":<>|*?\r\n\\/" {
		a.call(http.StatusBadRequest, "CreateArtifact", object{"name": "a" + string(c), "version": 7})
	}
	a.call(http.StatusBadRequest, "CreateArtifact", object{"name": "", "version": 7})
	a.call(http.StatusBadRequest, "CreateArtifact", object{"name": "x", "version": 5})
	a.call(http.StatusBadRequest, "CreateArtifact", object{"name": "x", "version": 7, "colour": "red"})
	a.call(http.StatusBadRequest, "CreateArtifact", object{"name": "x", "version": 7, "expires_at": "2001-01-01T00:00:00Z"})
	a.call(http.StatusForbidden, "CreateArtifact", object{"name": "x", "version": 7, "workflow_job_run_backend_id": "another"})
	a.call(http.StatusOK, "CreateArtifact", object{"name": "x", "version": 4})
	if got := a.call(http.StatusConflict, "CreateArtifact", object{"name": "x", "version": 7}); got["code"] != "already_exists" {
		t.Errorf("answer %v", got)
	}
	status(t, http.StatusUnauthorized, "POST", a.url+"ListArtifacts", "forged", "{}")
	status(t, http.StatusNotFound, "POST", a.url+"MigrateArtifact", a.token, "{}")
	status(t, http.StatusNotFound, "POST", a.url+"ListArtifacts", a.token, "{}", "Content-Type", "application/protobuf")

	job.Run().Rerun()
	again := newService(t, job.Run().Job(githubtest.JobSpec{Name: "deploy"}))
	again.create("x") // names are those of an attempt
	a.call(http.StatusUnauthorized, "ListArtifacts", nil)
}

func TestArtifactAnswersOfAct(t *testing.T) {
	s := githubtest.New(t, githubtest.CamelCase())
	_, job := shop(s, githubtest.JobSpec{})
	a := newService(t, job)
	got := a.call(http.StatusOK, "CreateArtifact", object{"name": "x", "version": 7})
	if got["signedUploadUrl"] == nil {
		t.Errorf("answer %v", got)
	}
	job.Artifact("y", map[string][]byte{"record.json": []byte("{}")})
	entry := a.list(nil)[0]
	if entry["databaseId"] == nil || entry["workflowRunBackendId"] != a.runID {
		t.Errorf("entry %v", entry)
	}
	if removed := a.call(http.StatusOK, "DeleteArtifact", object{"name": "y"}); removed["artifactId"] != entry["databaseId"] {
		t.Errorf("removed %v", removed)
	}
	if left := job.Run().Artifacts(); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// TestArtifactsOfAttackers shows that anybody's run can carry any name, and
// what tells them apart.
func TestArtifactsOfAttackers(t *testing.T) {
	clock := noon()
	s := githubtest.New(t, githubtest.WithClock(clock))
	repo, job := shop(s, githubtest.JobSpec{})
	fork := s.Repository("mallory/shop", githubtest.ForkOf(repo))
	pull := repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "main", Author: "mallory"})
	repo.Commit("evil")
	files := map[string][]byte{"record.json": []byte("{}")}
	want := []*githubtest.Artifact{job.Artifact("gapless-shop", files)}
	for _, spec := range []githubtest.RunSpec{
		{Event: githubtest.OnPullRequest, PullRequest: pull, Actor: "mallory"},
		{Branch: "evil"},
		{Workflow: ".github/workflows/evil.yml", Event: githubtest.WorkflowDispatch},
	} {
		want = append(want, repo.Run(spec).Job(githubtest.JobSpec{Name: "evil"}).Artifact("gapless-shop", files))
	}
	s.Expire(want[0])
	got, _, err := client(t, s, job.Token()).Actions.ListArtifacts(t.Context(), "acme", "shop", &github.ListArtifactsOptions{Name: new("gapless-shop")})
	if err != nil || len(got.Artifacts) != 4 {
		t.Fatalf("%v, %v, want 4", got, err)
	}
	slices.Reverse(got.Artifacts) // newest first
	for i, a := range got.Artifacts {
		head := repo.ID
		if i == 1 {
			head = fork.ID
		}
		if a.GetID() != want[i].ID || a.WorkflowRun.GetHeadRepositoryID() != head || a.GetExpired() != (i == 0) {
			t.Errorf("artifact %d: %v", i, a)
		}
	}
	archive, err := zip.NewReader(bytes.NewReader(want[1].Content()), int64(len(want[1].Content())))
	if err != nil {
		t.Fatal(err)
	}
	file, err := archive.Open("record.json")
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(file); err != nil || string(content) != "{}" {
		t.Errorf("%q, %v", content, err)
	}
}
