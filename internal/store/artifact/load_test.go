package artifact_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact"
	"github.com/gapless-deploy/gapless/internal/store/storetest"
)

// seconds are waits.
func seconds(all ...int) (waits []time.Duration) {
	for _, s := range all {
		waits = append(waits, time.Duration(s)*time.Second)
	}
	return waits
}

// What was saved is not listed at once.
func TestARecordThatIsListedLate(t *testing.T) {
	for name, c := range map[string]struct {
		reader func(*world, *githubtest.Run) *githubtest.Run
		hidden int // lists: each look at another run makes two, at our own four
		waits  []time.Duration
	}{
		"of our own run, at once":           {same, 0, nil},
		"of our own run, by the API alone":  {same, 2, nil},
		"of our own run, at the third look": {same, 8, seconds(2, 4)},
		"of another run, at once":           {other, 0, nil},
		"of another run, by the whole list": {other, 1, nil},
		"of another run, at the third look": {other, 4, seconds(2, 4)},
		"of another run, at the last look":  {other, 10, seconds(2, 4, 8, 16, 30)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			first, _ := opened(t)
			save(t, w.store(job(run)), first, rollout.Head{})
			s := w.open(through(w.options(job(c.reader(w, run))), unlisted(c.hidden)))
			got, err := s.Load(t.Context(), storetest.Service, first.Head())
			if err != nil || got.Head() != first.Head() {
				t.Fatalf("loaded %v, %v", got.Head(), err)
			}
			if slept := w.clock.Slept(); !slices.Equal(slept, c.waits) {
				t.Errorf("waited %v, want %v", slept, c.waits)
			}
		})
	}
}

func same(_ *world, run *githubtest.Run) *githubtest.Run { return run }
func other(w *world, _ *githubtest.Run) *githubtest.Run  { return w.run(0) }

func TestARecordThatIsGone(t *testing.T) {
	for name, c := range map[string]struct {
		reader func(*world, *githubtest.Run) *githubtest.Run
		lose   func(*world, *githubtest.Run, *githubtest.Artifact)
		looks  int
		want   string
	}{
		"deleted from our own run": {same, remove, 6, "not among the artifacts of run 1 of acme/shop"},
		"deleted from another run": {other, remove, 6, "not among the artifacts of run 1 of acme/shop"},
		"deleted from a run that ended long ago": {other, func(w *world, _ *githubtest.Run, a *githubtest.Artifact) {
			a.Remove()
			w.clock.Advance(10 * time.Minute)
		}, 1, "looked 1 times"},
		"expired in our own run": {same, expire, 1, "expired at 2026-03-01T12:00:00Z"},
		"expired in another run": {other, expire, 1, "expired at 2026-03-01T12:00:00Z"},
		"expired since it was listed": {other, func(w *world, _ *githubtest.Run, _ *githubtest.Artifact) {
			w.hub.Fail(1, to("/zip"), githubtest.Status(http.StatusGone))
		}, 1, "expired"},
		"its content is gone": {other, func(w *world, _ *githubtest.Run, _ *githubtest.Artifact) {
			w.hub.Fail(1, func(r *http.Request) bool { return r.URL.Query().Has("sig") }, githubtest.Status(http.StatusNotFound))
		}, 1, "expired or was deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			first, _ := opened(t)
			j := job(run)
			save(t, w.store(j), first, rollout.Head{})
			j.Complete("success")
			c.lose(w, run, run.Artifacts()[1])
			before := len(w.clock.Slept())
			_, err := w.store(job(c.reader(w, run))).Load(t.Context(), storetest.Service, first.Head())
			if !errors.Is(err, rollout.ErrNotFound) || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), recordName(first.Head())) {
				t.Errorf("load: %v, want ErrNotFound, the name, and %q", err, c.want)
			}
			if n := len(w.hub.RequestsTo(http.MethodGet, "/zip")); n > 0 && strings.HasPrefix(name, "expired in") {
				t.Errorf("what is listed as expired was asked for %d times", n)
			}
			if got, want := w.clock.Slept()[before:], seconds(2, 4, 8, 16, 30)[:c.looks-1]; !slices.Equal(got, want) {
				t.Errorf("waited %v, want %v", got, want)
			}
		})
	}
}

func remove(_ *world, _ *githubtest.Run, a *githubtest.Artifact) { a.Remove() }
func expire(w *world, _ *githubtest.Run, a *githubtest.Artifact) { w.hub.Expire(a) }

func TestARunThatIsGone(t *testing.T) {
	w := newWorld(t)
	first, _ := opened(t)
	_, err := w.store(job(w.run(2))).Load(t.Context(), storetest.Service, first.Head())
	if !errors.Is(err, rollout.ErrNotFound) || !strings.Contains(err.Error(), "run 1 of acme/shop is gone") {
		t.Errorf("load from a run that is gone: %v", err)
	}
}

func TestHeadsThatNoRunCanHave(t *testing.T) {
	w := newWorld(t)
	first, _ := opened(t)
	s := w.store(job(w.run(writer)))
	for name, change := range map[string]func(*rollout.Head){
		"no hash":              func(h *rollout.Head) { h.Hash = "" },
		"a hash in capitals":   func(h *rollout.Head) { h.Hash = strings.ToUpper(h.Hash) },
		"a path as a hash":     func(h *rollout.Head) { h.Hash = "../" + h.Hash[3:] },
		"no place":             func(h *rollout.Head) { h.Seq = 0 },
		"somebody's own run":   func(h *rollout.Head) { h.Run = "local" },
		"a path as a run":      func(h *rollout.Head) { h.Run = "1/../2" },
		"a query after a run":  func(h *rollout.Head) { h.Run = "1?a=b" },
		"a run before all":     func(h *rollout.Head) { h.Run = "0" },
		"more digits than any": func(h *rollout.Head) { h.Run = strings.Repeat("9", 19) },
	} {
		want := first.Head()
		change(&want)
		if _, err := s.Load(t.Context(), storetest.Service, want); !errors.Is(err, rollout.ErrNotFound) {
			t.Errorf("%s: %v, want ErrNotFound", name, err)
		}
	}
	if n := len(w.hub.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestNamesOfServices(t *testing.T) {
	w := newWorld(t)
	s := w.store(job(w.run(writer)))
	for _, name := range []string{"", "A", "a b", "a/b", "../a", "-a", "a-", "a\n", "ä", strings.Repeat("a", 64), "a-000001-0123456789ab", "a-000001-0123456789ab-2"} {
		if _, err := s.Load(t.Context(), name, rollout.Head{}); err == nil || errors.Is(err, rollout.ErrNotFound) {
			t.Errorf("load of service %q: %v, want a refusal", name, err)
		}
		if name != "" {
			if err := s.Save(t.Context(), storetest.Opened(t, name, "r1", rollout.Head{}), rollout.Head{}); err == nil {
				t.Errorf("saved for service %q", name)
			}
		}
	}
	if n := len(w.hub.Requests()); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

// blind makes the server list all, whatever name is asked for.
func blind(r *http.Request) (int, string) {
	query := r.URL.Query()
	query.Del("name")
	r.URL.RawQuery = query.Encode()
	return 0, ""
}

// A server may not know the filter by name of a run's list.
func TestAllPagesOfARunAreRead(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	j := job(run)
	save(t, w.store(j), first, rollout.Head{})
	for i := range 230 {
		j.Artifact(fmt.Sprintf("log-%d", i), map[string][]byte{"log": nil})
	}
	got, err := w.open(through(w.options(job(w.run(0))), blind)).Load(t.Context(), storetest.Service, first.Head())
	if err != nil || got.Head() != first.Head() {
		t.Errorf("loaded %v, %v", got.Head(), err)
	}
	if n := len(w.hub.RequestsTo(http.MethodGet, "/runs/1/artifacts")); n != 3 {
		t.Errorf("%d pages were read, want 3", n)
	}
}

func TestRequestsAreFew(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, second := opened(t)
	saves := w.store(job(run))
	save(t, saves, first, rollout.Head{})
	save(t, saves, second, first.Head())

	for name, c := range map[string]struct {
		s           *artifact.Store
		first, more int
	}{
		"our own run": {w.store(job(run)), 3, 2},      // list, address, content; then the list is known
		"another run": {w.store(job(w.run(0))), 4, 3}, // run, list, address, content; then the run is known
	} {
		for i, want := range []int{c.first, c.more} {
			before := len(w.hub.Requests())
			if _, err := c.s.Load(t.Context(), storetest.Service, second.Head()); err != nil {
				t.Fatal(err)
			}
			if got := len(w.hub.Requests()) - before; got != want {
				t.Errorf("load %d from %s made %d requests, want %d", i+1, name, got, want)
			}
		}
	}
}

func TestLoadOutlastsFaults(t *testing.T) {
	content := func(r *http.Request) bool { return r.URL.Query().Has("sig") }
	for where, c := range map[string]struct {
		reader func(*world, *githubtest.Run) *githubtest.Run
		at     func(*http.Request) bool
		head   bool
	}{
		"ListArtifacts":        {same, to("/ListArtifacts"), true},
		"GetSignedArtifactURL": {same, to("/GetSignedArtifactURL"), true},
		"content, signed":      {same, content, true},
		"run":                  {other, to("/runs/1"), true},
		"artifacts of the run": {other, to("/runs/1/artifacts"), true},
		"zip":                  {other, to("/zip"), true},
		"content, redirected":  {other, content, true},
		"beacons":              {other, to("/actions/artifacts"), false},
	} {
		for what, f := range map[string]githubtest.Fault{
			"429": githubtest.Status(429), "500": githubtest.Status(500), "502": githubtest.Status(502),
			"503": githubtest.Status(503), "504": githubtest.Status(504), "the network": githubtest.Reset(),
			"the answer": githubtest.LostAnswer(), "half the answer": githubtest.Truncated(),
			"a secondary limit":    githubtest.SecondaryLimit(403, 20*time.Second),
			"a secondary limit, b": githubtest.SecondaryLimit(429, 20*time.Second),
			"a limit":              githubtest.PrimaryLimit(time.Minute),
		} {
			if where == "zip" && what == "half the answer" {
				continue // a redirection has no content
			}
			t.Run(where+": "+what, func(t *testing.T) {
				w := newWorld(t)
				run := w.run(writer)
				first, _ := opened(t)
				save(t, w.store(job(run)), first, rollout.Head{})
				s, want := w.store(job(c.reader(w, run))), rollout.Head{}
				if c.head {
					want = first.Head()
				}
				w.hub.Fail(2, c.at, f)
				got, err := s.Load(t.Context(), storetest.Service, want)
				if err != nil || got.Head() != first.Head() {
					t.Fatalf("loaded %v, %v", got.Head(), err)
				}
				// Where a connection is cut, net/http may have asked again at once.
				if n := len(w.clock.Slept()); n < 1 || n > 2 {
					t.Errorf("waited %d times, want once for each fault", n)
				}
			})
		}
	}
}

// What GitHub refuses for good is not taken for a record that is not there.
func TestARefusalIsNotNotFound(t *testing.T) {
	content := func(r *http.Request) bool { return r.URL.Query().Has("sig") }
	for where, at := range map[string]func(*http.Request) bool{
		"run": to("/runs/1"), "artifacts of the run": to("/runs/1/artifacts"), "zip": to("/zip"), "content": content,
	} {
		for what, f := range map[string]githubtest.Fault{
			"down": githubtest.Status(503), "the network": githubtest.Reset(), "forbidden": githubtest.Status(403),
			"a limit for an hour": githubtest.PrimaryLimit(time.Hour),
		} {
			t.Run(where+": "+what, func(t *testing.T) {
				w := newWorld(t)
				run := w.run(writer)
				first, _ := opened(t)
				save(t, w.store(job(run)), first, rollout.Head{})
				w.hub.Fail(100, at, f)
				_, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, first.Head())
				if err == nil || errors.Is(err, rollout.ErrNotFound) || errors.Is(err, rollout.ErrBroken) {
					t.Errorf("load: %v, want an error that is neither ErrNotFound nor ErrBroken", err)
				}
			})
		}
	}
}

func TestAMissingPermissionIsNamed(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	poor := w.run(0).Job(githubtest.JobSpec{Name: "deploy"})
	for _, want := range []rollout.Head{{}, first.Head()} {
		_, err := w.store(poor).Load(t.Context(), storetest.Service, want)
		if err == nil || !strings.Contains(err.Error(), "actions: read") {
			t.Errorf("load without the permission: %v", err)
		}
	}
}

func TestARunThatWasRerunFindsWhatItSaved(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, second := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	run.Rerun()
	s := w.store(job(run))
	for _, want := range []rollout.Head{{}, first.Head()} {
		if got, err := s.Load(t.Context(), storetest.Service, want); err != nil || got.Head() != first.Head() {
			t.Errorf("loaded %v, %v", got.Head(), err)
		}
	}
	save(t, s, first, rollout.Head{})
	save(t, s, second, first.Head())
	if got, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, rollout.Head{}); err != nil || got.Head() != second.Head() {
		t.Errorf("loaded in a later run: %v, %v", got.Head(), err)
	}
}
