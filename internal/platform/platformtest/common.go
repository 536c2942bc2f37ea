package platformtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// common is what every platform must do.
func common() []test {
	return []test{
		{"nothing is observed where nothing was released", testEmpty},
		{"a mark is read back under another token", testMark},
		{"of many claims on one token one wins", testClaims},
		{"an instance is reached past the routing", testReach},
		{"mark, split and instances outlive the controller", testRestart},
	}
}

func testEmpty(st *stage) {
	seen := st.observe()
	if seen.Mark != nil || !seen.Split.Zero() || len(seen.Sides) != 0 {
		st.Errorf("observed %+v", seen)
	}
	if seen.Token == "" || seen.At.IsZero() {
		st.Errorf("token %q at %s: neither may be empty", seen.Token, seen.At)
	}
	if again := st.observe(); again.Token != seen.Token || again.At.Before(seen.At) {
		st.Errorf("looking turned token %s into %s, time %s into %s", seen.Token, again.Token, seen.At, again.At)
	}
}

// mark is one with something in each field.
func mark(epoch int, holder string, at rollout.Observation) rollout.Mark {
	return rollout.Mark{
		Service: "shop", Rollout: "r7",
		Stable: rollout.Revision{ID: "v1", Spec: "11"}, StableSide: rollout.Blue,
		Candidate: rollout.Revision{ID: "v2", Spec: "22"}, CandidateSide: rollout.Green,
		Head:  rollout.Head{Rollout: "r7", Seq: 3, Hash: "abc"},
		Back:  &rollout.GoingBack{Reason: "errors", From: 50, Decided: at.At},
		Epoch: epoch, Lease: &rollout.Lease{Holder: holder, Phase: rollout.Deploy, Until: at.At},
	}
}

func testMark(st *stage) {
	seen := st.observe()
	want := mark(3, "one", seen)
	st.must(st.Platform.Claim(st.patient(), seen.Token, want))
	after := st.observe()
	if after.Mark == nil {
		st.Fatal("no mark is observed")
	}
	if diff := cmp.Diff(want, *after.Mark); diff != "" {
		st.Errorf("the mark came back otherwise (-stamped +read):\n%s", diff)
	}
	if after.Token == seen.Token {
		st.Error("the token is what it was before")
	}
	if err := st.Platform.Claim(st.patient(), seen.Token, want); !errors.Is(err, rollout.ErrConflict) {
		st.Errorf("a claim on the token of before: %v, want ErrConflict", err)
	}
}

func testClaims(st *stage) {
	seen := st.observe()
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			err := st.Platform.Claim(st.patient(), seen.Token, mark(i, "several", seen))
			switch {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, rollout.ErrConflict):
				st.Errorf("claim %d: %v, want ErrConflict", i, err)
			}
		})
	}
	all.Wait()
	if n := won.Load(); n != 1 {
		st.Errorf("%d claims won", n)
	}
}

func testReach(st *stage) {
	spec := st.Good("v1", 2)
	st.release(spec)
	side, ok := st.observe().SideOf(spec.Revision)
	if !ok {
		st.Fatal("what was released is on no side")
	}
	instances := st.observe().Sides[side].Instances
	if len(instances) != 2 {
		st.Fatalf("%d instances are observed, want 2", len(instances))
	}
	for _, i := range instances {
		if got, err := st.reached(st.patient(), i); err != nil || got != "v1" {
			st.Errorf("%s answers %q, %v", i.Name, got, err)
		}
	}
}

func testRestart(st *stage) {
	if st.Restart == nil {
		st.Skip("the platform has no controller that is ours to kill")
	}
	spec := st.Good("v1", 2)
	st.release(spec)
	st.must(st.Platform.Claim(st.patient(), st.token(), mark(3, "one", st.observe())))
	before := st.observe()
	st.Restart()
	after := st.settled(spec, 2)
	if after.Token != before.Token || after.Split != before.Split || !after.SplitSince.Equal(before.SplitSince) {
		st.Errorf("after the restart: %+v, before: %+v", after, before)
	}
	if diff := cmp.Diff(before.Mark, after.Mark); diff != "" {
		st.Errorf("the mark changed:\n%s", diff)
	}
	if was, is := names(before), names(after); !slices.Equal(was, is) {
		st.Errorf("instances are %v, were %v", is, was)
	}
	st.answers(spec.Revision)
}

// names lists the instances there are.
func names(seen rollout.Observation) []string {
	var all []string
	for _, side := range seen.Sides {
		for _, i := range side.Instances {
			all = append(all, i.Name+" at "+i.Address)
		}
	}
	slices.Sort(all)
	return all
}

// describe says how far an observation fell short.
func describe(seen rollout.Observation, n, least int) string {
	var text strings.Builder
	fmt.Fprintf(&text, "only %d instances are ready for traffic, before it were %d; blue %s, green %s", n, least, seen.Split.Blue, seen.Split.Green)
	for side, s := range seen.Sides {
		fmt.Fprintf(&text, "; %s: %s, %d desired, %d ready", side, s.Revision, s.Desired, s.Ready)
		for _, i := range s.Instances {
			fmt.Fprintf(&text, ", %s ready %t held %t %s", i.Name, i.Ready, i.Held, i.Problem)
		}
	}
	return text.String()
}
