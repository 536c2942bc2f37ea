package platformtest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Sides holds a platform to the contract of phase.Sides.
func Sides(t *testing.T, fresh Fresh) {
	t.Helper()
	runAll(t, fresh, append(common(), []test{
		{"a launch returns when all is ready, and again changes nothing", testLaunch},
		{"a launch that was cancelled goes on when it is called again", testLaunchAgain},
		{"a launch that comes to nothing says why and is replaced", testLaunchFails},
		{"a launch over what serves is refused", testLaunchOver},
		{"a shift is in force when it returns", testShift},
		{"a shift to where nothing is ready is refused", testShiftRefused},
		{"both sides of a split answer", testSplit},
		{"what serves is not retired", testRetireRefused},
		{"a retired side is gone and starts again from what was kept", testRetire},
		{"a stale token is a conflict for every verb", testStale},
		{"a shift or retirement that was cut short goes on when it is called again", testSidesSweep},
		{"nothing is written once somebody has taken over", testSidesOwner},
	}...))
}

func (st *stage) launch(side rollout.Side, spec rollout.Spec) {
	st.Helper()
	st.must(st.sides().Launch(st.patient(), st.token(), side, spec))
}

func (st *stage) shift(side rollout.Side, w rollout.Weight) {
	st.Helper()
	st.must(st.sides().Shift(st.patient(), st.token(), rollout.SplitTo(side, w)))
}

// settled waits until so many instances of a revision are ready.
func (st *stage) settled(spec rollout.Spec, ready int) rollout.Observation {
	st.Helper()
	ctx := st.patient()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		seen, err := st.Platform.Observe(ctx)
		if err == nil {
			if side, ok := seen.SideOf(spec.Revision); ok && seen.Sides[side].Ready == ready {
				return seen
			}
		}
		select {
		case <-ctx.Done():
			st.Fatalf("still not %d instances of %s: %+v, %v", ready, spec.Revision, seen, err)
		case <-ticker.C:
		}
	}
}

func testLaunch(st *stage) {
	spec := st.Good("v1", 2)
	before := st.token()
	st.launch(rollout.Green, spec)
	seen := st.observe()
	side := seen.Sides[rollout.Green]
	if side.Revision != spec.Revision || side.Desired != 2 || side.Ready != 2 || len(seen.Sides) != 1 {
		st.Errorf("launched: %+v", seen.Sides)
	}
	if seen.Token == before || !seen.Split.Zero() {
		st.Errorf("token %s, was %s; split %+v", seen.Token, before, seen.Split)
	}
	st.launch(rollout.Green, spec)
	if again := st.observe(); !slices.Equal(names(seen), names(again)) {
		st.Errorf("launched again: %v, were %v", names(again), names(seen))
	}
}

func testLaunchAgain(st *stage) {
	spec := st.Good("v1", 2)
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(st.patient())
		p, at := st.hooked(n, cancel)
		err := capable[phase.Sides](st, p).Launch(ctx, st.token(), rollout.Blue, spec)
		cancel()
		if err == nil {
			break
		}
		if at.reached() && n < most {
			continue
		}
		st.Fatalf("cut short at call %d: %v", n, err)
	}
	if side := st.observe().Sides[rollout.Blue]; side.Revision != spec.Revision || side.Ready != 2 || len(side.Instances) != 2 {
		st.Errorf("launched: %+v", side)
	}
}

func testLaunchFails(st *stage) {
	for _, spec := range []rollout.Spec{st.Unready("v1", 1), st.Crashing("v2", 1)} {
		if err := st.sides().Launch(st.short(), st.token(), rollout.Blue, spec); !errors.Is(err, errLate) {
			st.Errorf("launch of %s ended with %v", spec.Revision, err)
		}
		side := st.observe().Sides[rollout.Blue]
		if side.Revision != spec.Revision || side.Ready != 0 || len(side.Instances) != 1 || side.Instances[0].Problem == "" {
			st.Errorf("%s is observed as %+v, want one that has a problem", spec.Revision, side)
		}
	}
	good := st.Good("v3", 1)
	st.launch(rollout.Blue, good)
	if side := st.observe().Sides[rollout.Blue]; side.Revision != good.Revision || side.Ready != 1 {
		st.Errorf("what came to nothing was not replaced: %+v", side)
	}
}

func testLaunchOver(st *stage) {
	spec := st.Good("v1", 1)
	st.launch(rollout.Blue, spec)
	st.shift(rollout.Blue, rollout.Full)
	if err := st.sides().Launch(st.patient(), st.token(), rollout.Blue, st.Good("v2", 1)); err == nil {
		st.Error("launched over what serves")
	}
	st.answers(spec.Revision)
}

func testShift(st *stage) {
	one, two := st.Good("v1", 2), st.Good("v2", 1)
	st.launch(rollout.Blue, one)
	st.launch(rollout.Green, two)
	st.shift(rollout.Blue, rollout.Full)
	st.answers(one.Revision)
	first := st.observe()
	w := st.watched(1)
	for range 3 {
		st.shift(rollout.Green, rollout.Full)
		st.answers(two.Revision)
		st.shift(rollout.Blue, rollout.Full)
		st.answers(one.Revision)
	}
	w.end()
	last := st.observe()
	if last.Split != rollout.SplitTo(rollout.Blue, rollout.Full) || !last.SplitSince.After(first.SplitSince) || last.SplitSince.After(last.At) {
		st.Errorf("split %+v since %s at %s, was since %s", last.Split, last.SplitSince, last.At, first.SplitSince)
	}
	st.shift(rollout.Blue, rollout.Full)
	if again := st.observe(); !again.SplitSince.Equal(last.SplitSince) {
		st.Errorf("the same split again is in force since %s, was since %s", again.SplitSince, last.SplitSince)
	}
}

func testShiftRefused(st *stage) {
	one := st.Good("v1", 1)
	st.launch(rollout.Blue, one)
	st.shift(rollout.Blue, rollout.Full)
	refused := func(what string) {
		st.Helper()
		for _, w := range []rollout.Weight{1, rollout.Full} {
			if err := st.sides().Shift(st.patient(), st.token(), rollout.SplitTo(rollout.Green, w)); err == nil {
				st.Errorf("%s of the traffic went to %s", w, what)
			}
		}
		if seen := st.observe(); seen.Split != rollout.SplitTo(rollout.Blue, rollout.Full) {
			st.Errorf("split is %+v", seen.Split)
		}
		st.answers(one.Revision)
	}
	refused("an empty side")
	if err := st.sides().Launch(st.short(), st.token(), rollout.Green, st.Unready("v2", 1)); !errors.Is(err, errLate) {
		st.Errorf("launched with %v", err)
	}
	refused("a side where nothing is ready")
}

func testSplit(st *stage) {
	if st.WholeOnly {
		st.Skip("the platform divides no traffic")
	}
	one, two := st.Good("v1", 1), st.Good("v2", 1)
	st.launch(rollout.Blue, one)
	st.launch(rollout.Green, two)
	st.shift(rollout.Green, 500)
	if st.Ask == nil {
		return
	}
	answered := map[string]int{}
	for range 100 {
		id, err := st.Ask(st.patient())
		st.must(err)
		answered[id]++
	}
	if answered["v1"] < 20 || answered["v2"] < 20 {
		st.Errorf("answered were %v of 100, the split is half and half", answered)
	}
}

func testRetireRefused(st *stage) {
	one, two := st.Good("v1", 1), st.Good("v2", 1)
	st.launch(rollout.Blue, one)
	st.launch(rollout.Green, two)
	serving := []rollout.Side{rollout.Blue, rollout.Green}
	if st.WholeOnly {
		serving = serving[1:]
		st.shift(rollout.Green, rollout.Full)
	} else {
		st.shift(rollout.Green, 1)
	}
	w := st.watched(len(serving))
	for _, side := range serving {
		if _, err := st.sides().Retire(st.patient(), st.token(), side); err == nil {
			st.Errorf("%s was retired, which takes traffic", side)
		}
	}
	w.end()
}

func testRetire(st *stage) {
	one, two := st.Good("v1", 1), st.Good("v2", 2)
	st.launch(rollout.Blue, one)
	st.launch(rollout.Green, two)
	if !st.WholeOnly {
		st.shift(rollout.Green, 500)
	} else {
		st.shift(rollout.Green, rollout.Full)
	}
	w := st.watched(1)
	st.shift(rollout.Blue, rollout.Full)
	for range 2 {
		cut, err := st.sides().Retire(st.patient(), st.token(), rollout.Green)
		st.must(err)
		if cut != 0 {
			st.Errorf("%d requests were cut, none took as long as the drain", cut)
		}
		if sides := st.observe().Sides; len(sides) != 1 || sides[rollout.Blue].Ready != 1 {
			st.Errorf("after the retirement: %+v", sides)
		}
	}
	st.launch(rollout.Green, rollout.Spec{Revision: two.Revision})
	if green := st.observe().Sides[rollout.Green]; green.Revision != two.Revision || green.Ready != 2 {
		st.Errorf("started again from what was kept: %+v", green)
	}
	w.end()
}

func testStale(st *stage) {
	one := st.Good("v1", 1)
	st.launch(rollout.Blue, one)
	stale := st.token()
	st.shift(rollout.Blue, rollout.Full)
	before := st.observe()
	_, retired := st.sides().Retire(st.patient(), stale, rollout.Green)
	for verb, err := range map[string]error{
		"claim":  st.Platform.Claim(st.patient(), stale, mark(1, "late", before)),
		"launch": st.sides().Launch(st.patient(), stale, rollout.Green, st.Good("v2", 1)),
		"shift":  st.sides().Shift(st.patient(), stale, rollout.SplitTo(rollout.Blue, rollout.Full)),
		"retire": retired,
	} {
		if !errors.Is(err, rollout.ErrConflict) {
			st.Errorf("%s: %v, want ErrConflict", verb, err)
		}
	}
	if after := st.observe(); after.Token != before.Token || after.Mark != nil || len(after.Sides) != 1 {
		st.Errorf("the stale verbs left %+v", after)
	}
}

// sidesVerbs go round: each has something to do when the one before is done.
func (st *stage) sidesVerbs(two rollout.Spec) []func(context.Context, phase.Sides, rollout.Token) error {
	to := func(split rollout.Split) func(context.Context, phase.Sides, rollout.Token) error {
		return func(ctx context.Context, p phase.Sides, seen rollout.Token) error { return p.Shift(ctx, seen, split) }
	}
	verbs := []func(context.Context, phase.Sides, rollout.Token) error{
		func(ctx context.Context, p phase.Sides, seen rollout.Token) error {
			return p.Launch(ctx, seen, rollout.Green, two)
		},
		to(rollout.SplitTo(rollout.Green, rollout.Full)),
		to(rollout.SplitTo(rollout.Blue, rollout.Full)),
		func(ctx context.Context, p phase.Sides, seen rollout.Token) error {
			_, err := p.Retire(ctx, seen, rollout.Green)
			return err
		},
	}
	if !st.WholeOnly {
		verbs = slices.Insert(verbs, 1, to(rollout.SplitTo(rollout.Green, 500)))
	}
	return verbs
}

func testSidesSweep(st *stage) {
	one, two := st.Good("v1", 1), st.Good("v2", 1)
	st.launch(rollout.Blue, one)
	st.shift(rollout.Blue, rollout.Full)
	w := st.watched(1)
	cuts := 0
	for n, all := 1, false; !all; n++ {
		all = true
		for _, verb := range st.sidesVerbs(two) {
			ctx, cancel := context.WithCancel(st.patient())
			p, hook := st.hooked(n, cancel)
			err := verb(ctx, capable[phase.Sides](st, p), st.token())
			cancel()
			if !hook.reached() {
				st.must(err)
				continue
			}
			cuts++
			all = false
			for range attempts { // what was cut short may still be on its way
				if err = verb(st.patient(), st.sides(), st.token()); !errors.Is(err, rollout.ErrConflict) {
					break
				}
			}
			st.must(err)
		}
		if sides := st.observe().Sides; len(sides) != 1 || sides[rollout.Blue].Ready != 1 {
			st.Errorf("after a round cut short at call %d: %+v", n, sides)
		}
		if n > most {
			st.Fatal("it does not come to an end")
		}
	}
	w.end()
	st.answers(one.Revision)
	if cuts == 0 {
		st.Error("nothing was ever cut short")
	}
}

func testSidesOwner(st *stage) {
	one, two := st.Good("v1", 1), st.Good("v2", 1)
	st.launch(rollout.Blue, one)
	st.shift(rollout.Blue, rollout.Full)
	epoch, first := 0, st.token()
	for n, all := 1, false; !all; n += 2 { // before each call
		all = true
		for i, verb := range st.sidesVerbs(two) {
			var left rollout.Token
			p, hook := st.hooked(n, func() { left = st.takeOver(&epoch) })
			err := verb(st.patient(), capable[phase.Sides](st, p), st.token())
			if !hook.reached() {
				st.must(err)
				continue
			}
			all = false
			if err != nil && !errors.Is(err, rollout.ErrConflict) {
				st.Errorf("verb %d, taken over before call %d: %v, want ErrConflict", i, (n+1)/2, err)
			}
			if now := st.token(); now != left {
				st.Errorf("verb %d, taken over before call %d, wrote on: the token is %s, was %s", i, (n+1)/2, now, left)
			}
			st.must(verb(st.patient(), st.sides(), st.token()))
		}
	}
	if epoch == 0 || st.token() == first {
		st.Error("nobody ever took over")
	}
}

// takeOver claims the platform as a rollback does, and tells the token then.
func (st *stage) takeOver(epoch *int) rollout.Token {
	seen, err := st.Platform.Observe(st.patient())
	if err != nil {
		st.Error(err)
	}
	*epoch++
	m := mark(*epoch, "them", seen)
	m.Back = nil
	if err := st.Platform.Claim(st.patient(), seen.Token, m); err != nil {
		st.Error(err)
	}
	after, err := st.Platform.Observe(st.patient())
	if err != nil {
		st.Error(err)
	}
	return after.Token
}
