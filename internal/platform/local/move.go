package local

import (
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// goal is what a roll leads to: so many of the instances of a revision serve.
type goal struct {
	revision api.Revision
	side     api.Side
	goal     int
	of       int // all of them
}

// goalOf finds side and numbers. What serves of the revision already goes on
// serving.
func goalOf(state api.State, to rollout.Spec, atLeast int) (goal, error) {
	g := goal{revision: named(to.Revision), of: to.Instances}
	side, err := sideFor(state, g.revision)
	if err != nil {
		return goal{}, err
	}
	g.side = side
	stands := state.Sides[side]
	if len(to.Target) == 0 {
		if stands.Revision != g.revision {
			return goal{}, fmt.Errorf("the agent kept no definition of %s", to.Revision)
		}
		g.of = stands.Spec.Instances
	}
	g.goal = min(max(atLeast, 0), g.of)
	if g.stands(state) && state.Split.Weights[side] > 0 {
		g.goal = max(g.goal, stands.Serving)
	}
	return g, nil
}

// sideFor is the side that holds the revision, else one that does not serve.
func sideFor(state api.State, revision api.Revision) (api.Side, error) {
	holds := func(side api.Side) bool { return state.Sides[side].Revision == revision }
	runs := func(side api.Side) bool { return state.Sides[side].Desired > 0 }
	free := func(side api.Side) bool { return state.Split.Weights[side] == 0 }
	for _, fits := range []func(api.Side) bool{
		func(side api.Side) bool { return holds(side) && runs(side) },
		holds,
		func(side api.Side) bool { return free(side) && !runs(side) },
		free,
	} {
		for _, side := range api.Sides() {
			if fits(side) {
				return side, nil
			}
		}
	}
	return "", errors.New("both sides serve other revisions")
}

// stands reports whether the side runs the revision.
func (g goal) stands(state api.State) bool {
	s := state.Sides[g.side]
	return s.Revision == g.revision && s.Desired > 0
}

// kind is what a move does.
type kind int

const (
	nothing  kind = iota // the goal is reached
	toLaunch             // start the first instances
	toAwait              // an instance is not ready yet
	toAdmit              // ask whether an instance may take traffic
	toScale
	toShift
	toRetire
)

// move is one step towards a goal.
type move struct {
	kind               kind
	side               api.Side
	instances, serving int
	weights            api.Weights
	of                 api.Instance
}

// next gives the move that is due: from nothing to so many instances, ready and
// admitted while they are held or their side has no weight; then these serve,
// then their part of the traffic is theirs, and only then others are ended.
func (g goal) next(state api.State, admitted func(api.Instance) bool) move {
	s := state.Sides[g.side]
	switch {
	case !g.stands(state):
		return move{kind: toLaunch, side: g.side, instances: g.goal}
	case s.Desired < g.goal:
		return move{kind: toScale, side: g.side, instances: g.goal, serving: s.Serving}
	}
	first := s.Instances[:min(g.goal, len(s.Instances))]
	for _, in := range first {
		if in.Phase != api.Ready {
			return move{kind: toAwait, of: in}
		}
	}
	for _, in := range first {
		if (in.Held || state.Split.Weights[g.side] == 0) && !admitted(in) {
			return move{kind: toAdmit, of: in}
		}
	}
	if s.Serving < g.goal {
		return move{kind: toScale, side: g.side, instances: s.Desired, serving: g.goal}
	}
	if want := g.split(state); !state.Split.Weights.Equal(want) {
		return move{kind: toShift, weights: want}
	}
	return g.makeRoom(state)
}

// split gives the side its part; all of it where nothing else serves.
func (g goal) split(state api.State) api.Weights {
	part := int(rollout.PartOf(g.goal, g.of))
	if state.Split.Weights[g.side.Other()] == 0 {
		part = api.Whole
	}
	return api.Weights{g.side: part, g.side.Other(): api.Whole - part}
}

// makeRoom ends what was replaced of the other side, and waits for what an
// earlier roll has begun to end.
func (g goal) makeRoom(state api.State) move {
	other := g.side.Other()
	s := state.Sides[other]
	leaves := false
	for _, in := range state.Draining {
		leaves = leaves || in.Side == other
	}
	stay := firstReady(s, keep(s.Spec.Instances, g.goal, g.of))
	switch {
	case stay == s.Desired && !leaves:
		return move{kind: nothing}
	case stay == 0:
		return move{kind: toRetire, side: other}
	}
	return move{kind: toScale, side: other, instances: stay, serving: min(stay, s.Serving)}
}

// keep is how many of so many instances stay once n of others have replaced
// their part: rounded up, so that there are never fewer than the smaller of the
// two revisions has.
func keep(instances, n, of int) int {
	return (instances*(of-n) + of - 1) / of
}

// firstReady is how many of a side's instances, the first ones, stay so that n
// of them are ready, as far as there are so many: of several that could stay
// it is never a broken one alone.
func firstReady(s api.SideState, n int) int {
	if n == 0 {
		return 0
	}
	ready := 0
	for i, in := range s.Instances {
		if in.Phase == api.Ready {
			ready++
		}
		if i+1 >= n && ready == min(n, s.Ready) {
			return i + 1
		}
	}
	return s.Desired
}
