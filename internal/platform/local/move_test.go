package local

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/gapless-deploy/gapless/internal/agent/api"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

func TestKeep(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		instances, of := rapid.IntRange(1, 100).Draw(rt, "instances"), rapid.IntRange(1, 100).Draw(rt, "of")
		before := instances
		for n := range of + 1 {
			stay := keep(instances, n, of)
			if stay > before {
				rt.Fatalf("with %d of %d there stay %d of %d, with one less it were %d", n, of, stay, instances, before)
			}
			if n+stay < min(instances, of) {
				rt.Fatalf("%d of %d and %d of %d are fewer than either has", n, of, stay, instances)
			}
			if (stay == 0) != (n == of) {
				rt.Fatalf("with %d of %d there stay %d of %d", n, of, stay, instances)
			}
			if part := rollout.PartOf(n, of); (part == rollout.Full) != (stay == 0) {
				rt.Fatalf("%s of the traffic, and %d stay", part, stay)
			}
			before = stay
		}
	})
}

// model is an agent as far as a roll sees it; it refuses what an agent does.
type model struct {
	*rapid.T
	api.State
	named int
}

// ready counts what is ready for traffic.
func (m *model) ready() int {
	n := 0
	for side, s := range m.Sides {
		if m.Split.Weights[side] == 0 {
			continue
		}
		for _, in := range s.Instances[:s.Serving] {
			if in.Phase == api.Ready {
				n++
			}
		}
	}
	return n
}

// size gives a side's instances their number and tells which serve.
func (m *model) size(side api.Side, instances, serving int) {
	s := m.Sides[side]
	s.Instances = slices.Clone(s.Instances[:min(instances, len(s.Instances))])
	for len(s.Instances) < instances {
		m.named++
		s.Instances = append(s.Instances, api.Instance{Name: fmt.Sprint(m.named), Side: side, Phase: api.Starting})
	}
	s.Desired, s.Serving = instances, serving
	m.count(&s)
	m.Sides[side] = s
}

func (m *model) count(s *api.SideState) {
	s.Ready = 0
	for i := range s.Instances {
		s.Instances[i].Held = i >= s.Serving
		if s.Instances[i].Phase == api.Ready {
			s.Ready++
		}
	}
}

// turn gives an instance another phase.
func (m *model) turn(name string, to api.Phase) {
	for side, s := range m.Sides {
		for i := range s.Instances {
			if s.Instances[i].Name == name {
				s.Instances[i].Phase = to
			}
		}
		m.count(&s)
		m.Sides[side] = s
	}
}

func (m *model) make(g goal, spec api.Spec, next move) {
	switch next.kind {
	case toLaunch:
		if m.Split.Weights[next.side] > 0 {
			m.Fatalf("launches over what serves: %+v", next)
		}
		m.Sides[next.side] = api.SideState{Revision: g.revision, Spec: spec}
		m.size(next.side, next.instances, next.instances)
	case toScale:
		if s := m.Sides[next.side]; next.instances < 1 || next.instances > s.Spec.Instances || next.serving > next.instances {
			m.Fatalf("scales %+v to %+v", s, next)
		}
		m.size(next.side, next.instances, next.serving)
	case toRetire:
		if m.Split.Weights[next.side] > 0 {
			m.Fatalf("retires what serves: %+v", next)
		}
		m.size(next.side, 0, 0)
	case toShift:
		m.Split.Weights = next.weights
	case toAwait:
		m.turn(next.of.Name, api.Ready)
	case toAdmit, nothing:
	}
	for side, weight := range m.Split.Weights {
		if s := m.Sides[side]; weight > 0 && s.Serving == 0 {
			m.Fatalf("%s has %d of the traffic and nothing that serves: %+v", side, weight, s)
		}
	}
}

// A roll reaches its goal from wherever an earlier one, forward or back, was
// cut short, asks for each new instance before it takes traffic, and never
// leaves fewer ready than the smaller of both revisions has.
func TestMovesLeadToTheGoal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.IntRange(1, 9)
		specs := map[string]rollout.Spec{}
		for _, id := range []string{"v1", "v2"} {
			specs[id] = rollout.Spec{Revision: rollout.Revision{ID: id}, Instances: size.Draw(rt, id), Target: []byte("{}")}
		}
		m := &model{T: rt, State: api.State{Sides: map[api.Side]api.SideState{}}}
		m.roll(specs["v1"], specs["v1"].Instances, -1, 0)
		least := min(specs["v1"].Instances, specs["v2"].Instances)
		for range rapid.IntRange(1, 6).Draw(rt, "rolls") {
			to := specs[rapid.SampledFrom([]string{"v1", "v2"}).Draw(rt, "to")]
			n := rapid.IntRange(1, to.Instances).Draw(rt, "at least")
			m.roll(to, n, rapid.IntRange(0, 30).Draw(rt, "cut short after"), least)
		}
		for _, id := range []string{"v2", "v1"} {
			m.roll(specs[id], specs[id].Instances, -1, least)
			if s := m.Sides[m.sideOf(id)]; s.Ready != specs[id].Instances || m.Split.Weights[m.sideOf(id)] != api.Whole || len(m.Sides[m.sideOf(id).Other()].Instances) > 0 {
				rt.Fatalf("all of %s are to serve: %+v", id, m.State)
			}
		}
	})
}

func (m *model) sideOf(id string) api.Side {
	side, err := sideFor(m.State, api.Revision{ID: id})
	if err != nil {
		m.Fatal(err)
	}
	return side
}

// roll makes so many moves, or all that it takes where moves is negative, while
// least instances must be ready at any time.
func (m *model) roll(to rollout.Spec, n, moves, least int) {
	g, err := goalOf(m.State, to, n)
	if err != nil {
		m.Fatal(err)
	}
	admitted := map[string]bool{}
	for made := 0; made != moves; made++ {
		next := g.next(m.State, func(in api.Instance) bool { return admitted[in.Name] })
		if next.kind == nothing {
			m.reached(g)
			return
		}
		if made > 20*g.of+20 {
			m.Fatalf("still not at %+v: %+v, next is %+v", g, m.State, next)
		}
		if next.kind == toAdmit {
			admitted[next.of.Name] = true
		}
		taking := m.taking(g.side)
		m.make(g, api.Spec{Instances: to.Instances}, next)
		for name := range m.taking(g.side) {
			if !taking[name] && !admitted[name] {
				m.Fatalf("%s takes traffic and was not admitted: %+v", name, next)
			}
		}
		if ready := m.ready(); ready < least {
			m.Fatalf("%d are ready for traffic, at least %d must be: %+v left %+v", ready, least, next, m.State)
		}
	}
}

// taking names what takes traffic on a side.
func (m *model) taking(side api.Side) map[string]bool {
	names := map[string]bool{}
	if m.Split.Weights[side] > 0 {
		for _, in := range m.Sides[side].Instances[:m.Sides[side].Serving] {
			names[in.Name] = true
		}
	}
	return names
}

func (m *model) reached(g goal) {
	s, other := m.Sides[g.side], m.Sides[g.side.Other()]
	if s.Serving < g.goal || s.Ready < g.goal || m.Split.Weights[g.side] < int(rollout.PartOf(g.goal, g.of)) {
		m.Fatalf("at %+v is %+v, split %v", g, s, m.Split.Weights)
	}
	if stay := keep(other.Spec.Instances, g.goal, g.of); len(other.Instances) > stay {
		m.Fatalf("of the former %d stay, %d may: %+v", len(other.Instances), stay, g)
	}
}

// Of a revision whose first instances are broken others stay, as many as are
// to be ready.
func TestWhatStaysIsReady(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s api.SideState
		for range rapid.IntRange(1, 9).Draw(rt, "instances") {
			phase := rapid.SampledFrom([]api.Phase{api.Ready, api.Failing, api.Waiting}).Draw(rt, "phase")
			s.Instances = append(s.Instances, api.Instance{Phase: phase})
			if s.Desired++; phase == api.Ready {
				s.Ready++
			}
		}
		n := rapid.IntRange(0, s.Desired).Draw(rt, "n")
		stay, ready := firstReady(s, n), 0
		for _, in := range s.Instances[:stay] {
			if in.Phase == api.Ready {
				ready++
			}
		}
		if stay < n || ready < min(n, s.Ready) || (n == 0) != (stay == 0) {
			rt.Fatalf("%d of %+v stay for %d, %d of them ready", stay, s, n, ready)
		}
		if stay > n && s.Instances[stay-1].Phase != api.Ready {
			rt.Fatalf("%d of %+v stay for %d, the last one is of no use", stay, s, n)
		}
	})
}
