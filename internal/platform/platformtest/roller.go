package platformtest

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Roller holds a platform to the contract of phase.Roller.
func Roller(t *testing.T, fresh Fresh) {
	t.Helper()
	runAll(t, fresh, append(common(), []test{
		{"a first release takes all of the traffic", testRollFirst},
		{"instance by instance, none fewer and each admitted first", testRollOn},
		{"rolled again is not rolled", testRollRepeated},
		{"the way back is from every number and from what was kept", testRollBack},
		{"another number of instances is another revision", testRollResize},
		{"one that is not admitted gets no traffic", testRollRefused},
		{"one that does not come up is named, and nothing else changes", testRollFails},
		{"cut short at any call it goes on, and goes back", testRollSweep},
		{"a renewed lease does not stop it, a new owner does", testRollOwner},
		{"a stale token is a conflict", testRollStale},
		{"it goes on when the controller was killed", testRollRestart},
	}...))
}

type admission = func(context.Context, rollout.Instance) error

// roll has at least n instances of a revision serve, none of them cut.
func (st *stage) roll(to rollout.Spec, n int, admit admission) {
	st.Helper()
	for range attempts {
		cut, err := st.roller().Roll(st.patient(), st.token(), to, n, admit)
		if cut != 0 {
			st.Errorf("%d requests were cut, none took as long as the drain", cut)
		}
		if errors.Is(err, rollout.ErrConflict) {
			continue
		}
		st.must(err)
		return
	}
	st.Fatalf("%d attempts ended with a conflict", attempts)
}

// back asks for all instances of a revision, by what the platform kept of it.
func (st *stage) back(to rollout.Spec) {
	st.Helper()
	st.roll(rollout.Spec{Revision: to.Revision}, math.MaxInt32, nil)
}

// rolled checks that n instances of now serve, and that as large a part of
// former is gone.
func (st *stage) rolled(former, now rollout.Spec, n int) rollout.Observation {
	st.Helper()
	seen := st.observe()
	side, there := seen.SideOf(now.Revision)
	want := rollout.SplitTo(side, rollout.PartOf(n, now.Instances))
	is := seen.Sides[side]
	if !there || seen.Split != want || is.Desired != n || is.Ready != n || len(is.Instances) != n {
		st.Errorf("%d of %d are to serve, observed is split %+v, %+v", n, now.Instances, seen.Split, is)
	}
	for _, i := range is.Instances {
		if i.Held || !i.Ready {
			st.Errorf("%s does not serve: %+v", i.Name, i)
		}
	}
	stay := int(math.Ceil(float64(former.Instances*(now.Instances-n)) / float64(now.Instances)))
	was, there := seen.Sides[side.Other()]
	if there != (stay > 0) || was.Ready != stay || len(was.Instances) != stay {
		st.Errorf("%d of %d of the former are to stay, observed is %+v", stay, former.Instances, was)
	}
	if n == now.Instances {
		st.answers(now.Revision)
	}
	return seen
}

func testRollFirst(st *stage) {
	spec := st.Good("v1", 2)
	asked := 0
	st.roll(spec, 2, func(context.Context, rollout.Instance) error { asked++; return nil })
	st.rolled(rollout.Spec{}, spec, 2)
	if asked != 2 {
		st.Errorf("%d instances were to be admitted, want 2", asked)
	}
}

func testRollOn(st *stage) {
	one, two := st.Good("v1", 4), st.Good("v2", 4)
	st.release(one)
	st.must(st.Platform.Claim(st.patient(), st.token(), mark(3, "one", st.observe())))
	w := st.watched(one.Instances)
	var names []string
	admit := func(ctx context.Context, i rollout.Instance) error {
		if id, err := st.reached(ctx, i); err != nil || id != "v2" {
			st.Errorf("%s is to be admitted and answers %q, %v", i.Name, id, err)
		}
		if !st.Serves && len(names) == 0 && w.heard(two.Revision) > 0 {
			st.Error("v2 has answered before any of it was admitted")
		}
		names = append(names, i.Name)
		return nil
	}
	for _, n := range []int{1, 3, 4} {
		before := st.token()
		st.roll(two, n, admit)
		seen := st.rolled(one, two, n)
		if len(names) != n {
			st.Errorf("%d of %d were admitted: %v", len(names), n, names)
		}
		if seen.Token == before {
			st.Errorf("the token is what it was before, with %d", n)
		}
		if seen.Mark == nil || seen.Mark.Epoch != 3 {
			st.Errorf("the mark is %+v", seen.Mark)
		}
	}
	w.end()
	if slices.Sort(names); len(slices.Compact(names)) != 4 {
		st.Errorf("admitted were %v, want each once", names)
	}
}

func testRollRepeated(st *stage) {
	one, two := st.Good("v1", 3), st.Good("v2", 3)
	st.release(one)
	st.roll(two, 2, nil)
	before := st.rolled(one, two, 2)
	for _, n := range []int{2, 1} {
		st.roll(two, n, func(_ context.Context, i rollout.Instance) error {
			st.Errorf("%s is to be admitted again", i.Name)
			return nil
		})
		after := st.rolled(one, two, 2)
		if after.Token != before.Token || !slices.Equal(names(before), names(after)) {
			st.Errorf("rolled to %d again: %v under %s, were %v under %s", n, names(after), after.Token, names(before), before.Token)
		}
	}
}

func testRollBack(st *stage) {
	one, two := st.Good("v1", 3), st.Good("v2", 3)
	st.release(one)
	w := st.watched(one.Instances)
	for n := 1; n <= two.Instances; n++ {
		st.roll(two, n, nil)
		st.rolled(one, two, n)
		st.back(one)
		st.rolled(two, one, one.Instances)
	}
	w.end()
}

func testRollResize(st *stage) {
	small, large := st.Good("v1", 2), st.Good("v1", 3)
	if small.Revision == large.Revision {
		st.Fatal("two numbers of instances are one revision")
	}
	st.release(small)
	w := st.watched(small.Instances)
	for n := 1; n <= large.Instances; n++ {
		st.roll(large, n, nil)
		st.rolled(small, large, n)
	}
	for n := 1; n <= small.Instances; n++ {
		st.roll(small, n, nil)
		st.rolled(large, small, n)
	}
	w.end()
}

func testRollRefused(st *stage) {
	one, two := st.Good("v1", 2), st.Good("v2", 2)
	st.release(one)
	w := st.watched(one.Instances)
	refusal := errors.New("smoke test failed")
	refuse := func(context.Context, rollout.Instance) error { return refusal }
	refused := func(n int, weight rollout.Weight) {
		st.Helper()
		if _, err := st.roller().Roll(st.patient(), st.token(), two, n, refuse); !errors.Is(err, refusal) {
			st.Errorf("rolled to %d with %v, want what admit said", n, err)
		}
		seen := st.observe()
		side, there := seen.SideOf(two.Revision)
		if st.Serves {
			weight = seen.Split.Of(side)
		}
		if !there || seen.Split.Of(side) != weight || seen.Sides[side].Ready != n || seen.Sides[side.Other()].Ready != 3-n {
			st.Errorf("refused with %d: %+v", n, seen)
		}
	}
	refused(1, 0)
	if n := w.heard(two.Revision); !st.Serves && n > 0 {
		st.Errorf("what was refused has answered %d requests", n)
	}
	st.roll(two, 1, nil)
	st.rolled(one, two, 1)
	refused(2, rollout.PartOf(1, 2))
	seen := st.observe()
	side, _ := seen.SideOf(two.Revision)
	held := func(i rollout.Instance) bool { return i.Held && i.Ready }
	if i := seen.Sides[side].Instances; slices.ContainsFunc(i, held) == st.Serves {
		st.Errorf("what was refused is not held: %+v", i)
	}
	st.back(one)
	st.rolled(two, one, 2)
	w.end()
}

func testRollFails(st *stage) {
	one := st.Good("v1", 2)
	st.release(one)
	w := st.watched(one.Instances)
	for _, bad := range []rollout.Spec{st.Unready("v2", 2), st.Crashing("v3", 2)} {
		_, err := st.roller().Roll(st.short(), st.token(), bad, 1, nil)
		seen := st.observe()
		side, there := seen.SideOf(bad.Revision)
		if !there || len(seen.Sides[side].Instances) != 1 {
			st.Fatalf("%s is observed as %+v", bad.Revision, seen.Sides)
		}
		i := seen.Sides[side].Instances[0]
		if !errors.Is(err, errLate) || !strings.Contains(err.Error(), i.Name) {
			st.Errorf("%s: %v, want the cause and %s", bad.Revision, err, i.Name)
		}
		if i.Problem == "" || bad.Revision.ID == "v3" && i.Restarts == 0 {
			st.Errorf("%s is observed without its problem: %+v", bad.Revision, i)
		}
		if seen.Split != rollout.SplitTo(side.Other(), rollout.Full) || seen.Sides[side.Other()].Ready != 2 {
			st.Errorf("the former is %+v at split %+v", seen.Sides[side.Other()], seen.Split)
		}
	}
	st.back(one)
	st.rolled(rollout.Spec{}, one, 2)
	w.end()
	if heard := w.heard(one.Revision); st.Ask != nil && heard == 0 {
		st.Error("the former answered nothing")
	}
}

func testRollStale(st *stage) {
	one := st.Good("v1", 1)
	st.release(one)
	stale := st.token()
	st.must(st.Platform.Claim(st.patient(), stale, mark(1, "other", st.observe())))
	before := st.observe()
	if _, err := st.roller().Roll(st.patient(), stale, st.Good("v2", 1), 1, nil); !errors.Is(err, rollout.ErrConflict) {
		st.Errorf("rolled with %v, want ErrConflict", err)
	}
	if after := st.observe(); after.Token != before.Token || len(after.Sides) != 1 {
		st.Errorf("it left %+v", after)
	}
}

func testRollRestart(st *stage) {
	if st.Restart == nil {
		st.Skip("the platform has no controller that is ours to kill")
	}
	one, two := st.Good("v1", 2), st.Good("v2", 2)
	st.release(one)
	st.roll(two, 1, nil)
	refusal := errors.New("not now")
	if _, err := st.roller().Roll(st.patient(), st.token(), two, 2, func(context.Context, rollout.Instance) error { return refusal }); !errors.Is(err, refusal) {
		st.Fatal(err)
	}
	before := st.settled(two, 2)
	st.Restart()
	after := st.settled(two, 2)
	if after.Split != before.Split || !slices.Equal(names(before), names(after)) {
		st.Errorf("after the restart: %+v, before: %+v", after, before)
	}
	side, _ := after.SideOf(two.Revision)
	held := 0
	for _, i := range after.Sides[side].Instances {
		if i.Held {
			held++
		}
	}
	if held != 1 {
		st.Errorf("%d are held after the restart, want the one that was: %+v", held, after.Sides[side].Instances)
	}
	w := st.watched(1)
	st.roll(two, 2, nil)
	st.rolled(one, two, 2)
	w.end()
}
