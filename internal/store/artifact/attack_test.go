package artifact_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact"
	"github.com/gapless-deploy/gapless/internal/store/storetest"
)

// forge uploads a record as a run's own, whatever the run is: beacon and
// record, each as the store itself would.
func forge(t *testing.T, run *githubtest.Run, r rollout.Record) {
	t.Helper()
	j := job(run)
	if !slices.Contains(names(run), "gapless-"+r.Service) {
		j.RawArtifact("gapless-"+r.Service, zipped(t, "beacon.json", "{}"))
	}
	j.RawArtifact(recordName(r.Head()), zipped(t, "record.json", encoded(t, r)))
}

func encoded(t *testing.T, r rollout.Record) string {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// writtenBy gives a record of one entry that a run wrote.
func writtenBy(t *testing.T, run int64, service string, after rollout.Head) rollout.Record {
	t.Helper()
	r, err := rollout.NewRecord(service, "r1").Append(after, noon, rollout.Writer{Run: strconv.FormatInt(run, 10), Attempt: 1, Actor: "eve"},
		rollout.Expand, rollout.Opened{
			Candidate: rollout.Revision{ID: "evil", Spec: strings.Repeat("6", 64)}, Strategy: "canary", Target: "local", Side: rollout.Green,
		})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Somebody who cannot push to the default branch makes a run that has a record.
func TestRunsThatAreNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(*world) *githubtest.Run
		want string // observed and allowed
	}{
		"a fork's": {func(w *world) *githubtest.Run {
			fork := w.hub.Repository("eve/shop", githubtest.ForkOf(w.repo))
			pull := w.repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "main", Author: "eve"})
			return w.repo.Run(githubtest.RunSpec{Event: githubtest.OnPullRequest, PullRequest: pull})
		}, "(a fork), allowed is"},
		"a pull request's": {func(w *world) *githubtest.Run {
			return w.repo.Run(githubtest.RunSpec{Event: githubtest.OnPullRequest, PullRequest: w.repo.PullRequest(githubtest.PullRequestSpec{})})
		}, "was started by pull_request, allowed are push, workflow_dispatch, schedule"},
		"another branch's": {func(w *world) *githubtest.Run {
			w.repo.Commit("feature")
			return w.repo.Run(githubtest.RunSpec{Branch: "feature"})
		}, `is of branch "feature", allowed are main`},
		"a branch's that is called like a pull request": {func(w *world) *githubtest.Run {
			w.repo.Commit("main/merge")
			return w.repo.Run(githubtest.RunSpec{Branch: "main/merge"})
		}, `is of branch "main/merge", allowed are main`},
		"of no workflow file": {func(w *world) *githubtest.Run {
			return w.repo.Run(githubtest.RunSpec{Workflow: "dynamic/pages/pages-build"})
		}, `is of workflow "dynamic/pages/pages-build", allowed is one in .github/workflows/`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := c.run(w)
			r := writtenBy(t, run.ID, storetest.Service, rollout.Head{})
			forge(t, run, r)
			s := w.store(job(w.run(0)))
			_, err := s.Load(t.Context(), storetest.Service, r.Head())
			if !errors.Is(err, artifact.ErrUntrusted) || !errors.Is(err, rollout.ErrBroken) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("load by its head: %v, want ErrUntrusted and %q", err, c.want)
			}
			if _, err := s.Load(t.Context(), storetest.Service, rollout.Head{}); !errors.Is(err, rollout.ErrNotFound) {
				t.Errorf("load of the newest: %v, want ErrNotFound", err)
			}
			if n := len(w.hub.RequestsTo(http.MethodGet, "/zip")); n != 0 {
				t.Errorf("%d archives of it were asked for", n)
			}
		})
	}
}

// edited changes what the API says of a run.
func edited(w *world, change func(map[string]any)) hand {
	return func(r *http.Request) (int, string) {
		if parts := strings.Split(r.URL.Path, "/"); len(parts) < 2 || parts[len(parts)-2] != "runs" {
			return 0, ""
		}
		resp, err := w.hub.Client().Transport.RoundTrip(r)
		if err != nil {
			w.t.Error(err)
			return 0, ""
		}
		var facts map[string]any
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&facts), resp.Body.Close())
		if err != nil {
			w.t.Error(err)
		}
		change(facts)
		body, err := json.Marshal(facts)
		if err != nil {
			w.t.Error(err)
		}
		return resp.StatusCode, string(body)
	}
}

func TestFactsOfARun(t *testing.T) {
	set := func(name string, value any) func(map[string]any) {
		return func(facts map[string]any) { facts[name] = value }
	}
	repository := func(name string, id float64) func(map[string]any) {
		return func(facts map[string]any) {
			if inner, ok := facts[name].(map[string]any); ok {
				inner["id"] = id
			}
		}
	}
	cases := map[string]struct {
		change func(map[string]any)
		want   string // empty: it is trusted
	}{
		"as it is":                  {func(map[string]any) {}, ""},
		"another repository":        {repository("repository", 7), "is of repository 7, allowed is"},
		"no repository":             {set("repository", nil), "is of repository 0, allowed is"},
		"a fork":                    {repository("head_repository", 7), "repository 7 brought (a fork), allowed is"},
		"a fork that was deleted":   {set("head_repository", nil), "repository 0 brought (a fork), allowed is"},
		"no event":                  {set("event", nil), "was started by , allowed are"},
		"no branch":                 {set("head_branch", nil), `is of branch "", allowed are main`},
		"no path":                   {set("path", nil), `is of workflow "", allowed is`},
		"a path elsewhere":          {set("path", "x/.github/workflows/a.yml"), `is of workflow "x/`},
		"a path with its reference": {set("path", ".github/workflows/a.yml@main"), ""},
	}
	for _, event := range []string{"push", "workflow_dispatch", "schedule", "issue_comment", "repository_dispatch", "workflow_run", "release", "merge_group"} {
		cases["event "+event] = struct {
			change func(map[string]any)
			want   string
		}{set("event", event), ""}
	}
	for _, event := range []string{"pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment", "fork", "watch", "issues", "dynamic", "check_run", "PUSH"} {
		cases["event "+event] = struct {
			change func(map[string]any)
			want   string
		}{set("event", event), "was started by " + event + ", allowed are push"}
	}
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	later := job(w.run(0))
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			s := w.open(through(w.options(later), edited(w, c.change)))
			_, err := s.Load(t.Context(), storetest.Service, first.Head())
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, artifact.ErrUntrusted) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("load: %v, want %q", err, c.want)
			}
		})
	}
}

func TestOurOwnBranchIsAllowed(t *testing.T) {
	w := newWorld(t)
	w.repo.Commit("staging")
	first, _ := opened(t)
	save(t, w.store(job(w.repo.Run(githubtest.RunSpec{ID: writer, Branch: "staging"}))), first, rollout.Head{})
	for _, want := range []rollout.Head{{}, first.Head()} {
		on := w.store(job(w.repo.Run(githubtest.RunSpec{Branch: "staging"})))
		if got, err := on.Load(t.Context(), storetest.Service, want); err != nil || got.Head() != first.Head() {
			t.Errorf("loaded on the branch itself: %v, %v", got.Head(), err)
		}
		if _, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, want); err == nil {
			t.Error("loaded on the default branch what another branch saved")
		}
	}
}

// zipped gives an archive of files in their order.
func zipped(t *testing.T, files ...string) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i])
		if err == nil {
			_, err = f.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// Somebody who may run a workflow on the default branch uploads something else
// under the name that the head leads to.
func TestContentThatIsForged(t *testing.T) {
	whole(t)
	first, second := opened(t)
	whole := encoded(t, second)
	for name, c := range map[string]struct {
		packed []byte
		want   string
	}{
		"no archive":              {[]byte(whole), "zip"},
		"a path out of it":        {zipped(t, "../record.json", whole), `"../record.json"`},
		"two files":               {zipped(t, "record.json", whole, "more", ""), "2 files"},
		"the file twice":          {zipped(t, "record.json", whole, "record.json", encoded(t, first)), "2 files"},
		"a bomb":                  {zipped(t, "record.json", strings.Repeat(" ", rollout.MaxRecordBytes+1)), "more than the 16777216 bytes"},
		"more than is read":       {zippedNoise(t), "more than the 20971520 bytes"},
		"no JSON":                 {zipped(t, "record.json", "x"), "record is broken"},
		"an entry was changed":    {zipped(t, "record.json", strings.Replace(whole, `"ana"`, `"eve"`, 1)), "changed after it was written"},
		"a key was added":         {zipped(t, "record.json", strings.Replace(whole, `{"version"`, `{"x":1,"version"`, 1)), "more than its entries"},
		"formatted anew":          {zipped(t, "record.json", " "+whole), "formatted anew"},
		"an older record":         {zipped(t, "record.json", encoded(t, first)), "seq 1"},
		"another service's":       {zipped(t, "record.json", encoded(t, storetest.Grown(t, storetest.Opened(t, "billing", "r1", rollout.Head{}), "on"))), "billing"},
		"another of the same":     {zipped(t, "record.json", encoded(t, storetest.Grown(t, first, "off"))), "seq 2"},
		"the beacon's, so to say": {zipped(t, "beacon.json", "{}"), `"beacon.json"`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			j := job(run)
			j.Artifact("gapless-"+storetest.Service, map[string][]byte{"beacon.json": nil})
			j.RawArtifact(recordName(second.Head()), c.packed)
			for where, s := range map[string]*artifact.Store{"own run": w.store(job(run)), "another run": w.store(job(w.run(0)))} {
				for _, want := range []rollout.Head{{}, second.Head()} {
					_, err := s.Load(t.Context(), storetest.Service, want)
					if !errors.Is(err, rollout.ErrBroken) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), recordName(second.Head())) {
						t.Errorf("%s, seq %d: %v, want ErrBroken, the name, and %q", where, want.Seq, err, c.want)
					}
				}
			}
		})
	}
}

// A record of another service, whole, under a name of this one.
func TestARecordOfAnotherService(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	billing := storetest.Opened(t, "billing", "r1", rollout.Head{})
	j := job(run)
	j.RawArtifact("gapless-"+storetest.Service, nil)
	j.RawArtifact(recordName(billing.Head()), zipped(t, "record.json", encoded(t, billing)))
	for _, want := range []rollout.Head{{}, billing.Head()} {
		_, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, want)
		if !errors.Is(err, rollout.ErrBroken) || !strings.Contains(err.Error(), "the record of billing") {
			t.Errorf("seq %d: %v, want ErrBroken", want.Seq, err)
		}
	}
}

// zippedNoise is an archive that is larger than what is downloaded.
func zippedNoise(t *testing.T) []byte {
	t.Helper()
	return zipped(t, "record.json", noise(29<<20))
}

// The same twelve digits lead to the artifact, the rest does not fit.
func TestAHeadThatOnlyBeginsTheSame(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	for name, change := range map[string]func(*rollout.Head){
		"hash":    func(h *rollout.Head) { h.Hash = h.Hash[:12] + strings.Repeat("0", 52) },
		"rollout": func(h *rollout.Head) { h.Rollout = "r2" },
		"no run":  func(h *rollout.Head) { h.Rollout, h.Run = "r2", "" },
	} {
		want := first.Head()
		change(&want)
		for where, s := range map[string]*artifact.Store{"own run": w.store(job(run)), "another run": w.store(job(w.run(0)))} {
			if want.Run == "" && where == "another run" {
				continue // it is looked for in our own
			}
			if _, err := s.Load(t.Context(), storetest.Service, want); !errors.Is(err, rollout.ErrNotFound) {
				t.Errorf("%s in %s: %v, want ErrNotFound", name, where, err)
			}
		}
	}
	// Another run has a copy, but did not write it.
	copied := w.run(0)
	forge(t, copied, first)
	want := first.Head()
	want.Run = strconv.FormatInt(copied.ID, 10)
	if _, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, want); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("a copy in another run: %v, want ErrNotFound", err)
	}
	// Without a run in the head, our own is meant.
	want.Run = ""
	if got, err := w.store(job(run)).Load(t.Context(), storetest.Service, want); err != nil || got.Head() != first.Head() {
		t.Errorf("a head without a run: %v, %v", got.Head(), err)
	}
}

// What is received is held against the digest that is listed, also where the
// record in it is whole.
func TestContentIsHeldAgainstItsDigest(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	other := append(zipped(t, "record.json", encoded(t, first)), "\x00\x00"...)
	other[len(other)-4] = 2 // a comment of two bytes: the same record in other bytes
	for where, of := range map[string]*githubtest.Run{"own run": run, "another run": w.run(0)} {
		swapped := through(w.options(job(of)), func(r *http.Request) (int, string) {
			if r.URL.Query().Has("sig") {
				return http.StatusOK, string(other)
			}
			return 0, ""
		})
		_, err := w.open(swapped).Load(t.Context(), storetest.Service, first.Head())
		if !errors.Is(err, rollout.ErrBroken) || strings.Count(err.Error(), "sha256:") != 2 {
			t.Errorf("%s: %v, want ErrBroken with both digests", where, err)
		}
	}
}

// Nothing that is secret is in any error, whatever goes wrong where.
func TestErrorsKeepSecrets(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, second := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	signed := func(r *http.Request) bool { return r.URL.Query().Has("sig") }
	for where, at := range map[string]func(*http.Request) bool{
		"create": to("/CreateArtifact"), "finish": to("/FinalizeArtifact"), "list": to("/ListArtifacts"), "address": to("/GetSignedArtifactURL"),
		"block": comp("block"), "blocklist": comp("blocklist"), "content": signed, "run": to("/runs/1"), "zip": to("/zip"),
	} {
		for what, answer := range map[string]func(string) (int, string){
			"an echo": func(secrets string) (int, string) {
				body, err := json.Marshal(map[string]string{"code": "internal", "msg": secrets, "message": secrets})
				if err != nil {
					t.Error(err)
				}
				return http.StatusTeapot, string(body)
			},
			"an echo in XML": func(secrets string) (int, string) {
				return http.StatusForbidden, "<Error><Code>AuthenticationFailed</Code><Message>" + secrets + "</Message></Error>"
			},
			"the network": func(string) (int, string) { return http.StatusOK, "{" },
		} {
			t.Run(where+": "+what, func(t *testing.T) {
				o := w.options(job(run))
				secrets := o.RuntimeToken + " " + o.Token + " https://x.example/y?sp=r&sig=5ecret%3D"
				o = through(o, func(r *http.Request) (int, string) {
					if at(r) {
						return answer(secrets + " " + r.URL.String())
					}
					return 0, ""
				})
				later := o
				later.Run = "2"
				failures := []error{w.open(o).Save(t.Context(), storetest.Grown(t, second, where+what), second.Head())}
				for _, s := range []*artifact.Store{w.open(o), w.open(later)} {
					_, err := s.Load(t.Context(), storetest.Service, first.Head())
					failures = append(failures, err)
				}
				err := errors.Join(failures...)
				if err == nil {
					t.Fatal("nothing failed")
				}
				for _, secret := range []string{o.RuntimeToken, o.Token, "5ecret", "sig=5", "sig=%"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the error shows %q:\n%v", secret, err)
					}
				}
				for _, r := range w.hub.Requests() {
					if sig := r.Query.Get("sig"); sig != "" && strings.Contains(err.Error(), sig) {
						t.Errorf("the error shows a signature:\n%v", err)
					}
				}
			})
		}
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	whole := w.options(job(w.run(writer)))
	for want, change := range map[string]func(*artifact.Options){
		"state: s3":             func(o *artifact.Options) { o.ServerURL = "https://github.corp.example" },
		"ACTIONS_RESULTS_URL":   func(o *artifact.Options) { o.ResultsURL = "" },
		"ACTIONS_RUNTIME_TOKEN": func(o *artifact.Options) { o.RuntimeToken = "" },
		"GITHUB_RUN_ID":         func(o *artifact.Options) { o.Run = "" },
		"GITHUB_REPOSITORY":     func(o *artifact.Options) { o.Repository = "acme/shop/../x" },
		"GITHUB_REPOSITORY_ID":  func(o *artifact.Options) { o.RepositoryID = 0 },
		"github-token":          func(o *artifact.Options) { o.Token = "" },
		"GITHUB_REF_NAME":       func(o *artifact.Options) { o.Ref = "" },
		"default branch":        func(o *artifact.Options) { o.Branch = "" },
		"GITHUB_API_URL":        func(o *artifact.Options) { o.APIURL = "://" },
		"HTTP":                  func(o *artifact.Options) { o.HTTP = nil },
		"Clock":                 func(o *artifact.Options) { o.Clock = nil },
		"Warn":                  func(o *artifact.Options) { o.Warn = nil },
	} {
		o := whole
		change(&o)
		if _, err := artifact.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error that names %s", err, want)
		}
	}
	enterprise := newWorld(t, githubtest.Enterprise())
	if _, err := artifact.New(enterprise.options(job(enterprise.run(writer)))); err == nil ||
		!strings.Contains(err.Error(), "`state: DIRECTORY` on one persistent runner") {
		t.Errorf("on an Enterprise Server: %v", err)
	}
}
