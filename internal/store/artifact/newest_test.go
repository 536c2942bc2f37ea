package artifact_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/githubtest"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/store/artifact"
	"github.com/gapless-deploy/gapless/internal/store/storetest"
)

// at gives the head before a record of that sequence number.
func at(seq int) rollout.Head {
	return rollout.Head{Seq: seq - 1, Hash: strings.Repeat("0", 64)}
}

// runWith makes a run on the default branch that has a record.
func (w *world) runWith(seq int) rollout.Record {
	w.t.Helper()
	run := w.run(0)
	r := writtenBy(w.t, run.ID, storetest.Service, at(seq))
	forge(w.t, run, r)
	w.clock.Advance(time.Second)
	return r
}

func TestTheNewest(t *testing.T) {
	for name, c := range map[string]struct {
		make func(*world) rollout.Record
		want string // of the error; empty where there is a record
	}{
		"of several runs, not the last to begin": {func(w *world) rollout.Record {
			w.runWith(2)
			newest := w.runWith(4)
			w.runWith(3)
			return newest
		}, ""},
		"of the last ten runs": {func(w *world) rollout.Record {
			w.runWith(9) // the eleventh to last
			newest := w.runWith(5)
			for range 9 {
				w.runWith(3)
			}
			return newest
		}, ""},
		"beside the newer runs of forks and branches": {func(w *world) rollout.Record {
			newest := w.runWith(3)
			fork := w.hub.Repository("eve/shop", githubtest.ForkOf(w.repo))
			pull := w.repo.PullRequest(githubtest.PullRequestSpec{Head: fork, Branch: "main", Author: "eve"})
			w.repo.Commit("feature")
			for range 15 {
				for _, spec := range []githubtest.RunSpec{{Branch: "feature"}, {Event: githubtest.OnPullRequest, PullRequest: pull}} {
					run := w.repo.Run(spec)
					forge(w.t, run, writtenBy(w.t, run.ID, storetest.Service, at(7)))
				}
			}
			return newest
		}, ""},
		"beside one that is not trusted": {func(w *world) rollout.Record {
			newest := w.runWith(3)
			run := w.repo.Run(githubtest.RunSpec{Workflow: "dynamic/x"})
			forge(w.t, run, writtenBy(w.t, run.ID, storetest.Service, at(7)))
			return newest
		}, ""},
		"beside a beacon that has expired": {func(w *world) rollout.Record {
			newest := w.runWith(3)
			run := w.run(0)
			forge(w.t, run, writtenBy(w.t, run.ID, storetest.Service, at(7)))
			w.hub.Expire(run.Artifacts()[0])
			return newest
		}, ""},
		"beside another service's": {func(w *world) rollout.Record {
			newest := w.runWith(3)
			run := w.run(0)
			forge(w.t, run, writtenBy(w.t, run.ID, "address-book-000009", at(7)))
			job(run).RawArtifact("gapless-"+storetest.Service+"-000009", nil)
			job(run).RawArtifact("gapless-"+storetest.Service+"x-000009-0123456789ab", nil)
			return newest
		}, ""},
		// An older one would pass for the newest.
		"which has expired": {func(w *world) rollout.Record {
			w.runWith(3)
			run := w.run(0)
			forge(w.t, run, writtenBy(w.t, run.ID, storetest.Service, at(4)))
			w.hub.Expire(run.Artifacts()[1])
			return rollout.Record{}
		}, "expired at 2026-03-01T12:00:01Z"},
		"two at one place": {func(w *world) rollout.Record {
			w.runWith(3)
			w.runWith(4)
			w.runWith(4)
			return rollout.Record{}
		}, "the record has two heads"},
		"beacons alone": {func(w *world) rollout.Record {
			job(w.run(0)).RawArtifact("gapless-"+storetest.Service, nil)
			return rollout.Record{}
		}, "nor in the 1 runs before"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			want := c.make(w)
			got, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, rollout.Head{})
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, rollout.ErrNotFound) && !errors.Is(err, rollout.ErrForked) {
					t.Errorf("loaded seq %d, %v, want %q", got.Head().Seq, err, c.want)
				}
				return
			}
			if err != nil || got.Head() != want.Head() {
				t.Errorf("loaded seq %d of run %s, %v, want %d of %s", got.Head().Seq, got.Head().Run, err, want.Head().Seq, want.Head().Run)
			}
		})
	}
}

func TestARunThatIsLeftOutIsWarnedOf(t *testing.T) {
	w := newWorld(t)
	run := w.repo.Run(githubtest.RunSpec{Workflow: "dynamic/x"})
	forge(t, run, writtenBy(t, run.ID, storetest.Service, at(7)))
	if _, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, rollout.Head{}); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("load: %v", err)
	}
	if len(w.warned) != 1 || !strings.Contains(w.warned[0], "dynamic/x") {
		t.Errorf("warned %q", w.warned)
	}
}

// Our own run goes before all others.
func TestTheNewestOfOurOwnRun(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	w.runWith(9)
	first, second := opened(t)
	s := w.store(job(run))
	save(t, s, first, rollout.Head{})
	save(t, s, second, first.Head())
	before := len(w.hub.RequestsTo(http.MethodGet, ""))
	got, err := w.store(job(run)).Load(t.Context(), storetest.Service, rollout.Head{})
	if err != nil || got.Head() != second.Head() {
		t.Errorf("loaded %v, %v", got.Head(), err)
	}
	if n := len(w.hub.RequestsTo(http.MethodGet, "")) - before; n != 1 {
		t.Errorf("%d requests besides those to the results service, want the content alone", n)
	}
}

// More beacons than a page holds.
func TestAllBeaconsAreRead(t *testing.T) {
	w := newWorld(t)
	newest := w.runWith(3)
	w.repo.Commit("feature")
	for range 120 {
		job(w.repo.Run(githubtest.RunSpec{Branch: "feature"})).RawArtifact("gapless-"+storetest.Service, nil)
	}
	for range 12 {
		job(w.run(0)).RawArtifact("log", nil)
	}
	for name, o := range map[string]artifact.Options{
		"by name": w.options(job(w.run(0))), "where the server lists all": through(w.options(job(w.run(0))), blind),
	} {
		got, err := w.open(o).Load(t.Context(), storetest.Service, rollout.Head{})
		if err != nil || got.Head() != newest.Head() {
			t.Errorf("%s: loaded %v, %v", name, got.Head(), err)
		}
	}
}
