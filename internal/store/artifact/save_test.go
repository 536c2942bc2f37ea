package artifact_test

import (
	"context"
	"errors"
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

// to matches requests by the end of their path.
func to(pathEnds string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, pathEnds) }
}

func comp(kind string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.URL.Query().Get("comp") == kind }
}

func TestNamesOfArtifacts(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	s := w.store(job(run))
	first, second := opened(t)
	save(t, s, first, rollout.Head{})
	save(t, s, second, first.Head())
	want := []string{"gapless-address-book", recordName(first.Head()), recordName(second.Head())}
	if got := names(run); !slices.Equal(got, want) {
		t.Errorf("the run has the artifacts %q, want %q", got, want)
	}
	if n := len(w.hub.Requests()); n != 3*4 {
		t.Errorf("two saves made %d requests, want 4 each and 4 for the beacon", n)
	}
}

func TestTheSameSignedAnewIsTheSame(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	signed := func(by string) rollout.Record {
		h := first.Head()
		return first.Sign(rollout.Signature{Seq: h.Seq, Hash: h.Hash, Method: rollout.SignedByToken, Value: by})
	}
	save(t, w.store(job(run)), signed("one"), rollout.Head{})
	save(t, w.store(job(run)), signed("another"), rollout.Head{})
	got, err := w.store(job(run)).Load(t.Context(), storetest.Service, first.Head())
	if err != nil || got.Signatures[0].Value != "one" {
		t.Errorf("loaded %v, %v, want what was saved first", got.Signatures, err)
	}
}

// Somebody in our own run has taken the name for something else.
func TestATakenNameIsNoSuccess(t *testing.T) {
	first, second := opened(t)
	for name, files := range map[string][]string{
		"another record": {"record.json", encoded(t, second)},
		"rubbish":        {"record.json", "{}"},
		"another file":   {"a", encoded(t, first)},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			job(run).RawArtifact(recordName(first.Head()), zipped(t, files...))
			err := w.store(job(run)).Save(t.Context(), first, rollout.Head{})
			if !errors.Is(err, rollout.ErrForked) || !strings.Contains(err.Error(), recordName(first.Head())) {
				t.Errorf("saved beside it: %v, want ErrForked and the name", err)
			}
		})
	}
}

func TestASaveOfAnotherRunIsRefused(t *testing.T) {
	w := newWorld(t)
	run := w.run(2)
	first, _ := opened(t)
	if err := w.store(job(run)).Save(t.Context(), first, rollout.Head{}); err == nil || len(names(run)) != 0 {
		t.Errorf("saved a record of run 1 in run 2: %v", err)
	}
}

// A job is cancelled between creating an artifact and finishing it: the name is
// taken for good, with nothing behind it.
func TestAnUploadThatWasCutShort(t *testing.T) {
	for name, when := range map[string]func(*http.Request) bool{
		"before the content": comp("block"),
		"before its list":    comp("blocklist"),
		"before the end":     to("/FinalizeArtifact"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			first, second := opened(t)
			save(t, w.store(job(run)), first, rollout.Head{})

			for range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				cut := through(w.options(job(run)), func(r *http.Request) (int, string) {
					if when(r) {
						cancel()
						return http.StatusServiceUnavailable, ""
					}
					return 0, ""
				})
				if err := w.open(cut).Save(ctx, second, first.Head()); !errors.Is(err, context.Canceled) {
					t.Fatalf("cut short: %v, want the cancellation", err)
				}
				_, err := w.store(job(run)).Load(t.Context(), storetest.Service, second.Head())
				if !errors.Is(err, rollout.ErrNotFound) {
					t.Fatalf("half of an upload was loaded: %v", err)
				}
			}
			save(t, w.store(job(run)), second, first.Head())
			if got, want := names(run)[2:], []string{recordName(second.Head()) + "-3"}; !slices.Equal(got, want) {
				t.Errorf("the run has %q, want %q", got, want)
			}
			for where, s := range map[string]*artifact.Store{
				"the same run": w.store(job(run)), "a later run": w.store(job(w.run(0))),
			} {
				for _, want := range []rollout.Head{{}, second.Head()} {
					if got, err := s.Load(t.Context(), storetest.Service, want); err != nil || got.Head() != second.Head() {
						t.Errorf("loaded in %s: %v, %v", where, got.Head(), err)
					}
				}
			}
		})
	}
}

func TestNamesThatAreAllTakenAreNoSuccess(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	taken := through(w.options(job(run)), func(r *http.Request) (int, string) {
		if strings.HasSuffix(r.URL.Path, "/CreateArtifact") {
			return http.StatusConflict, `{"code":"already_exists","msg":"an artifact with this name already exists"}`
		}
		return 0, ""
	})
	err := w.open(taken).Save(t.Context(), first, rollout.Head{})
	if err == nil || !strings.Contains(err.Error(), recordName(first.Head())+"-3") {
		t.Errorf("saved nowhere: %v, want an error that names the last try", err)
	}
	if len(w.warned) != 1 || !strings.Contains(w.warned[0], "gapless-address-book") {
		t.Errorf("warned %q, want of the beacon that is not there", w.warned)
	}
}

// Another job saves the same at this moment.
func TestANameIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	run := w.run(writer)
	first, second := opened(t)
	save(t, w.store(job(run)), first, rollout.Head{})
	save(t, w.store(job(run)), second, first.Head())
	// The beacon is looked for once, then the record twice in vain.
	n := 0
	late := through(w.options(job(run)), func(r *http.Request) (int, string) {
		if n++; strings.HasSuffix(r.URL.Path, "/ListArtifacts") && n > 2 && n < 6 {
			return http.StatusOK, `{"artifacts":[]}`
		}
		return 0, ""
	})
	before := len(w.clock.Slept())
	save(t, w.open(late), second, first.Head())
	if got, want := w.clock.Slept()[before:], []time.Duration{time.Second, 2 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("waited %v, want %v", got, want)
	}
	if got := len(run.Artifacts()); got != 3 {
		t.Errorf("the run has %q, want no second copy", names(run))
	}
}

func TestSaveOutlastsFaults(t *testing.T) {
	for name, c := range map[string]struct {
		at func(*http.Request) bool
		f  githubtest.Fault
	}{
		"create: 503":             {to("/CreateArtifact"), githubtest.Status(503)},
		"create: 429":             {to("/CreateArtifact"), githubtest.Status(429)},
		"create: the network":     {to("/CreateArtifact"), githubtest.Reset()},
		"create: the answer":      {to("/CreateArtifact"), githubtest.LostAnswer()},
		"create: half the answer": {to("/CreateArtifact"), githubtest.Truncated()},
		"block: 500":              {comp("block"), githubtest.Status(500)},
		"block: the answer":       {comp("block"), githubtest.LostAnswer()},
		"list of blocks: 503":     {comp("blocklist"), githubtest.Status(503)},
		"list of blocks: answer":  {comp("blocklist"), githubtest.LostAnswer()},
		"finish: 502":             {to("/FinalizeArtifact"), githubtest.Status(502)},
		"finish: the answer":      {to("/FinalizeArtifact"), githubtest.LostAnswer()},
		"finish: half the answer": {to("/FinalizeArtifact"), githubtest.Truncated()},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			first, _ := opened(t)
			w.hub.Fail(1, c.at, c.f) // meets the beacon
			s := w.store(job(run))
			save(t, s, first, rollout.Head{})
			w.hub.Fail(2, c.at, c.f)
			next := storetest.Grown(t, first, name)
			save(t, s, next, first.Head())
			got, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, next.Head())
			if err != nil || got.Head() != next.Head() {
				t.Errorf("loaded %v, %v", got.Head(), err)
			}
		})
	}
}

func TestSaveFailsWhereTheServiceStaysAway(t *testing.T) {
	for name, at := range map[string]func(*http.Request) bool{
		"create": to("/CreateArtifact"), "block": comp("block"), "list of blocks": comp("blocklist"), "finish": to("/FinalizeArtifact"),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			s := w.store(job(run))
			first, second := opened(t)
			save(t, s, first, rollout.Head{})
			w.hub.Fail(100, at, githubtest.Status(503))
			if err := s.Save(t.Context(), second, first.Head()); err == nil || !strings.Contains(err.Error(), "503") {
				t.Errorf("saved: %v, want an error with the status", err)
			}
			if got := len(run.Artifacts()); got != 2 {
				t.Errorf("the run has %q", names(run))
			}
		})
	}
}

func TestRecordsOfMoreThanABlock(t *testing.T) {
	whole(t)
	w := newWorld(t)
	run := w.run(writer)
	first, _ := opened(t)
	// What cannot be compressed, so that the archive has two blocks.
	big := storetest.Grown(t, first, noise(13<<20))
	save(t, w.store(job(run)), first, rollout.Head{})
	save(t, w.store(job(run)), big, first.Head())
	got, err := w.store(job(w.run(0))).Load(t.Context(), storetest.Service, big.Head())
	if err != nil || got.Head() != big.Head() {
		t.Errorf("loaded %v, %v", got.Head(), err)
	}
	blocks := 0
	for _, r := range w.hub.Requests() {
		if r.Query.Get("comp") == "block" {
			blocks++
		}
	}
	if blocks < 4 {
		t.Errorf("%d blocks were sent, want one each of beacon and first record, and more than one of the last", blocks)
	}
}

// noise is n bytes of text that hardly compresses.
func noise(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
	var b strings.Builder
	for state := uint64(1); b.Len() < n; {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		b.WriteByte(letters[state%64])
	}
	return b.String()
}

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		repository, asked int
		told              time.Duration
		sent              bool
	}{
		"the repository's":       {30, 0, 30 * day, false},
		"not known":              {0, 0, 0, false},
		"asked for less":         {30, 7, 7 * day, true},
		"asked for more":         {30, 90, 30 * day, true},
		"asked for, not known":   {0, 7, 7 * day, true},
		"asked for less than no": {30, -1, 30 * day, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			run := w.run(writer)
			o := w.options(job(run))
			o.RetentionDays, o.KeepDays = c.repository, c.asked
			s := w.open(o)
			if got := s.Retention(); got != c.told {
				t.Errorf("a record lives %v, want %v", got, c.told)
			}
			first, _ := opened(t)
			save(t, s, first, rollout.Head{})
			want := `"expires_at":"` + noon.Add(c.told).Format(time.RFC3339) + `"`
			for _, r := range w.hub.RequestsTo(http.MethodPost, "/CreateArtifact") {
				if body := string(r.Body); strings.Contains(body, "expires_at") != c.sent || c.sent && !strings.Contains(body, want) {
					t.Errorf("sent %s", body)
				}
			}
		})
	}
}
