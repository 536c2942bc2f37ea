package phase_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// errKilled is what every call gets once the process is meant to be dead.
var errKilled = errors.New("killed")

// world is a platform, a store, a meter and a database in memory, strict about
// what the real ones refuse. It is a fake, so that a phase can be killed at
// each of its calls, thousands of times a second; the same sweep runs with the
// real parts in package cli.
type world struct {
	mu    sync.Mutex
	token int
	mark  *rollout.Mark
	split rollout.Split
	since time.Time
	sides map[rollout.Side]rollout.SideState
	// shifts is the history of the split, for the meter.
	shifts  []shiftAt
	records map[rollout.Head]rollout.Record
	schema  schema
	locked  bool

	// errorShare is how many of the candidate's requests fail.
	errorShare float64
	// broken is a revision that never gets ready, crashing one whose instances
	// end again and again once they serve.
	broken, crashing string
	// retired is called when a side was stopped; nil calls nothing.
	retired func()
	// away is until when the platform does not answer.
	away time.Time
	// kept holds the definitions of revisions that were launched.
	kept map[rollout.Revision]rollout.Spec
	// full is a store whose disk is full.
	full bool
	// silent is a meter that counts nothing; lost a store that lost everything.
	silent, lost bool

	// killAt is the call at which the process dies, before or after its effect.
	// reads are the calls that change nothing.
	calls, killAt int
	reads         map[int]bool
	after, dead   bool
	dropped       string
	expired       map[rollout.Head]rollout.Record
}

func (w *world) gone(head rollout.Head) bool {
	_, gone := w.expired[head]
	return gone
}

type shiftAt struct {
	at    time.Time
	split rollout.Split
}

// pass lets time go by in the bubble of a test, where it costs nothing.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // not real time
}

func newWorld() *world {
	return &world{
		sides: map[rollout.Side]rollout.SideState{}, records: map[rollout.Head]rollout.Record{}, schema: newSchema(),
		kept: map[rollout.Revision]rollout.Spec{}, reads: map[int]bool{},
	}
}

// clone gives a world of its own in the same state.
func (w *world) clone() *world {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &world{
		token: w.token, split: w.split, since: w.since, sides: maps.Clone(w.sides), shifts: slices.Clone(w.shifts),
		records: maps.Clone(w.records), schema: w.schema.clone(), expired: w.expired, reads: map[int]bool{},
		kept: maps.Clone(w.kept), crashing: w.crashing, errorShare: w.errorShare, broken: w.broken, silent: w.silent, lost: w.lost, dropped: w.dropped,
	}
	if w.mark != nil {
		m := *w.mark
		c.mark = &m
	}
	return c
}

// revive starts the next process; it is killed at its call n, 0 is never.
func (w *world) revive(n int, after bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls, w.killAt, w.after, w.dead, w.locked, w.reads = 0, n, after, false, false, map[int]bool{}
}

// read is a call that changes nothing.
func (w *world) read(effect func() error) error { return w.enter(effect, true) }

// call runs the effect of one call, or kills the process at it.
func (w *world) call(effect func() error) error { return w.enter(effect, false) }

func (w *world) enter(effect func() error, read bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return errKilled
	}
	w.calls++
	if read {
		w.reads[w.calls] = true
	}
	if w.calls != w.killAt {
		return effect()
	}
	w.dead = true
	if w.after {
		return errors.Join(errKilled, effect())
	}
	return errKilled
}

func (w *world) check(seen rollout.Token) error {
	if seen != rollout.Token(fmt.Sprint(w.token)) {
		return rollout.ErrConflict
	}
	w.token++
	return nil
}

func (w *world) Observe(context.Context) (o rollout.Observation, err error) {
	return o, w.read(func() error {
		if time.Now().Before(w.away) {
			return fmt.Errorf("dial: %w", rollout.ErrUnavailable)
		}
		o = rollout.Observation{
			At: time.Now(), Token: rollout.Token(fmt.Sprint(w.token)), Split: w.split, SplitSince: w.since,
			Sides: maps.Clone(w.sides),
		}
		if w.mark != nil {
			m := *w.mark
			o.Mark = &m
		}
		return nil
	})
}

func (w *world) Claim(ctx context.Context, seen rollout.Token, m rollout.Mark) error {
	return w.call(func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := w.check(seen); err != nil {
			return err
		}
		if _, ok := w.records[m.Head]; !ok && !m.Head.Zero() {
			return fmt.Errorf("head %v was moved before its record was saved", m.Head)
		}
		w.mark = &m
		return nil
	})
}

func (w *world) Reach(context.Context, rollout.Instance) (http.RoundTripper, error) {
	var via http.RoundTripper
	return via, w.read(func() error {
		via = roundTrip(func(*http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.WriteHeader(http.StatusOK)
			return rec.Result(), nil
		})
		return nil
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *world) Launch(_ context.Context, seen rollout.Token, side rollout.Side, spec rollout.Spec) error {
	return w.call(func() error {
		if err := w.check(seen); err != nil {
			return err
		}
		if st, there := w.sides[side]; there && st.Revision != spec.Revision && w.split.Of(side) > 0 {
			return fmt.Errorf("side %s takes traffic", side)
		}
		spec, err := w.definition(spec)
		if err != nil {
			return err
		}
		return w.put(side, spec, spec.Instances, spec.Instances)
	})
}

// definition is what was sent, or what was kept of the revision.
func (w *world) definition(spec rollout.Spec) (rollout.Spec, error) {
	if len(spec.Target) > 0 {
		w.kept[spec.Revision] = spec
		return spec, nil
	}
	kept, ok := w.kept[spec.Revision]
	if !ok {
		return spec, fmt.Errorf("nothing is kept of revision %s", spec.Revision)
	}
	return kept, nil
}

// put has n instances stand on a side, the first of which serve.
func (w *world) put(side rollout.Side, spec rollout.Spec, n, serving int) error {
	st := rollout.SideState{Revision: spec.Revision, Desired: n}
	for i := range n {
		in := rollout.Instance{Name: fmt.Sprintf("%s-%d", side, i), Side: side, Ready: true, Held: i >= serving}
		if w.broken == spec.Revision.ID {
			in.Ready, in.Problem = false, "exit status 1: cannot open config"
		}
		if w.crashing == spec.Revision.ID && !in.Held {
			in.Restarts, in.Problem = 2, "ended 2 times: signal: killed"
		}
		if in.Ready {
			st.Ready++
		}
		st.Instances = append(st.Instances, in)
	}
	w.sides[side] = st
	if n > 0 && st.Ready == 0 {
		return errors.New("never became healthy")
	}
	return nil
}

// shift puts a split in force, once.
func (w *world) shift(split rollout.Split) {
	if w.split == split {
		return
	}
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		if split.Of(side) > 0 && w.sides[side].Ready == 0 {
			w.dropped = fmt.Sprintf("traffic was given to side %s, where nothing is ready", side)
		}
	}
	w.split, w.since = split, time.Now()
	w.shifts = append(w.shifts, shiftAt{time.Now(), split})
}

func (w *world) Shift(_ context.Context, seen rollout.Token, split rollout.Split) error {
	return w.call(func() error {
		if err := w.check(seen); err != nil {
			return err
		}
		if w.shift(split); w.dropped != "" {
			return errors.New(w.dropped)
		}
		return nil
	})
}

func (w *world) Retire(_ context.Context, seen rollout.Token, side rollout.Side) (cut int, err error) {
	return 0, w.call(func() error {
		if err := w.check(seen); err != nil {
			return err
		}
		if w.split.Of(side) > 0 {
			w.dropped = fmt.Sprintf("side %s was stopped while it took traffic", side)
			return errors.New(w.dropped)
		}
		delete(w.sides, side)
		if w.retired != nil {
			w.retired()
		}
		return nil
	})
}

// Counts makes up what 300 requests a second leave behind, second by second.
func (w *world) Counts(_ context.Context, in rollout.Window, of ...rollout.Revision) (samples []verdict.Sample, err error) {
	return samples, w.read(func() error {
		if w.silent {
			return nil
		}
		for i, s := range w.shifts {
			until := time.Now()
			if i+1 < len(w.shifts) {
				until = w.shifts[i+1].at
			}
			for at := s.at; at.Add(time.Second).Before(until); at = at.Add(time.Second) {
				if !at.Before(in.Since) {
					samples = append(samples, w.second(at, s.split, of)...)
				}
			}
		}
		return nil
	})
}

func (w *world) second(at time.Time, split rollout.Split, of []rollout.Revision) (samples []verdict.Sample) {
	candidate := rollout.Blue
	if w.mark != nil && w.mark.CandidateSide != "" {
		candidate = w.mark.CandidateSide
	}
	for _, side := range []rollout.Side{rollout.Blue, rollout.Green} {
		for _, r := range of {
			if n := int64(split.Of(side)) * 300 / 1000; w.sides[side].Revision == r && n > 0 {
				s := verdict.Sample{Revision: r.Key(), From: at, To: at.Add(time.Second), Weight: int(split.Of(candidate)), Requests: n}
				if side == candidate {
					s.Errors = int64(float64(n) * w.errorShare)
				}
				samples = append(samples, s)
			}
		}
	}
	return samples
}

func (w *world) Load(_ context.Context, _ string, want rollout.Head) (r rollout.Record, err error) {
	return r, w.read(func() error {
		var ok bool
		if r, ok = w.records[want]; !ok || w.lost || w.gone(want) {
			return rollout.ErrNotFound
		}
		return nil
	})
}

func (w *world) Save(_ context.Context, r rollout.Record, follows rollout.Head) error {
	return w.call(func() error {
		if err := r.Verify(); err != nil {
			return err
		}
		if w.full {
			return errors.New("no space left on device")
		}
		if _, ok := w.records[follows]; !ok && !follows.Zero() {
			return fmt.Errorf("record follows %v, which was never saved", follows)
		}
		w.records[r.Head()] = r
		return nil
	})
}

func (w *world) runner() *phase.Runner {
	return &phase.Runner{
		Platform: w, Store: w, Meter: w, Clock: phase.SystemClock{}, Holder: fmt.Sprint("run-", time.Now().UnixNano()),
		Writer:       rollout.Writer{Run: "1", Attempt: 1, Actor: "tester"},
		OpenDatabase: func(context.Context) (phase.Database, error) { return w, nil },
	}
}

// forget loses every record that was saved until now, as a store does whose
// content expires. Heads that were in force may still be followed.
func (w *world) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.expired = maps.Clone(w.records)
}
