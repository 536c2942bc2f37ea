package phase_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

const configFile = `
service: address-book
target:
  local: {agent: "http://127.0.0.1:7070", command: ["./{revision}/app"], instances: 2, health: /healthz}
strategy:
  canary: {steps: [5, 50, 100], bake: 30s, bake_limit: 5m, settle: 5s}
ready_within: 1m
smoke: [{get: /healthz}]
judge: {errors: {worse_by: 1pp}, slow: {worse_by: 1pp}, min_requests: 50}
schema: {url_env: DATABASE_URL, changes: [changes/0007-split-street.yaml]}
rollback_window: 1h
`

const changeFile = `
name: split street
table: address
expand:
  - add_column: {name: street_name, type: text}
sync:
  forward: {street_name: "street"}
  backward: {street: "street_name"}
contract:
  - drop_column: street
quiet_for: 24h
`

func work(p rollout.Phase, revision string, to rollout.Weight) phase.Work {
	return phase.Work{
		Request: plan.Request{Phase: p, To: to}, Revision: revision,
		Config:      rollout.File{Name: "gapless.yaml", Data: []byte(configFile)},
		ChangeFiles: []rollout.File{{Name: "changes/0007-split-street.yaml", Data: []byte(changeFile)}},
	}
}

// move is one command of a release, after some time has passed.
type move struct {
	name string
	wait time.Duration
	work phase.Work
	want rollout.Outcome
}

// firstRelease brings v1 in, which has no schema change to wait for.
func firstRelease() []move {
	w := work(rollout.Deploy, "v1", 0)
	w.Config.Data = []byte(strings.Replace(configFile, "changes: [changes/0007-split-street.yaml]", "changes: []", 1))
	w.ChangeFiles = nil
	return []move{{name: "first", work: w, want: rollout.Done}}
}

func release() []move {
	return append(firstRelease(),
		move{name: "expand", work: work(rollout.Expand, "v2", 0), want: rollout.Done},
		move{name: "deploy", work: work(rollout.Deploy, "v2", 0), want: rollout.Done},
		move{name: "promote 5", work: work(rollout.Promote, "", 50), want: rollout.Done},
		move{name: "promote 100", work: work(rollout.Promote, "", rollout.Full), want: rollout.Done},
		move{name: "tick", work: work(rollout.Tick, "", 0), want: rollout.Done},
		move{name: "retire", wait: 2 * time.Hour, work: work(rollout.Retire, "", 0), want: rollout.Done},
		move{name: "contract", work: work(rollout.Contract, "", 0), want: rollout.Done},
	)
}

// reverting is a rollback that takes the schema back, too.
func reverting() phase.Work {
	w := work(rollout.Rollback, "", 0)
	w.Request.Schema = rollout.RevertSchema
	return w
}

// restoring brings the old form of the change back.
func restoring() phase.Work {
	w := work(rollout.Restore, "", 0)
	w.Request.Change = "0007-split-street"
	return w
}

// hiding has contract hide the old form before it drops it.
func hiding(moves []move) []move {
	for i := range moves {
		for j := range moves[i].work.ChangeFiles {
			moves[i].work.ChangeFiles[j].Data = []byte(changeFile + "hide_for: 2h\n")
		}
	}
	return moves
}

// after has the last move wait.
func after(d time.Duration, moves []move) []move {
	moves[len(moves)-1].wait = d
	return moves
}

func takenBack() []move {
	return append(release()[:4], move{name: "rollback", work: work(rollout.Rollback, "", 0), want: rollout.Done})
}

const (
	canaryStrategy = `  canary: {steps: [5, 50, 100], bake: 30s, bake_limit: 5m, settle: 5s}`
	blueGreen      = `  blue_green: {bake: 30s, bake_limit: 5m, settle: 5s}`
	rollingStop    = `  rolling: {batch: 1, bake: 30s, bake_limit: 5m, settle: 5s}`
	rollingBack    = `  rolling: {batch: 1, bake: 30s, bake_limit: 5m, settle: 5s, on_failure: rollback}`
)

// by plays moves with another strategy.
func by(strategy string, moves []move) []move {
	for i := range moves {
		file := &moves[i].work.Config
		file.Data = []byte(strings.Replace(string(file.Data), canaryStrategy, strategy, 1))
	}
	return moves
}

// inOneMove is a blue-green release.
func inOneMove() []move {
	moves := slices.Delete(release(), 3, 4) // one promote, to 100
	moves[1].wait = 5 * time.Minute         // stable's recorded window
	return by(blueGreen, moves)
}

// batchwise is a rolling release.
func batchwise(strategy string) []move {
	moves := release()
	return by(strategy, slices.Delete(moves, 3, 5)) // deploy goes all the way
}

// ending replaces what the last move is to end with.
func ending(moves []move, want rollout.Outcome) []move {
	moves[len(moves)-1].want = want
	return moves
}

func then(moves []move, name string, work phase.Work, want rollout.Outcome) []move {
	return append(moves, move{name: name, work: work, want: want})
}

// superseding is the deploy of v3 while v2 is under way.
func superseding(moves []move) []move {
	w := work(rollout.Deploy, "v3", 0)
	w.Request.Supersede = true
	return then(moves, "supersede", w, rollout.Done)
}

// failing is a release whose move i ends with the candidate taken back.
func failing(i int) []move {
	moves := release()[:i+1]
	moves[i].want = rollout.Stopped
	return moves
}

// picture is the end state that a user can see. A lease is no part of it: it
// lapses by itself.
func picture(w *world) string {
	var b strings.Builder
	fmt.Fprintf(&b, "split blue %s green %s\n", w.split.Blue, w.split.Green)
	for _, side := range slices.Sorted(maps.Keys(w.sides)) {
		fmt.Fprintf(&b, "side %s: %s %d/%d\n", side, w.sides[side].Revision, w.sides[side].Ready, w.sides[side].Desired)
	}
	fmt.Fprintf(&b, "stable %s on %s, candidate %s, going back %t\n",
		w.mark.Stable, w.mark.StableSide, w.mark.Candidate, w.mark.Back != nil)
	for _, id := range slices.Sorted(maps.Keys(w.schema.changes)) {
		fmt.Fprintf(&b, "schema: %s %s\n", id, w.schema.changes[id].State)
	}
	fmt.Fprintf(&b, "applied %s\n", strings.Join(slices.Sorted(maps.Keys(w.schema.applied)), " "))
	if state, err := rollout.Fold(w.records[w.mark.Head]); err != nil {
		fmt.Fprintf(&b, "record: %v\n", err)
	} else {
		fmt.Fprintf(&b, "record %s: weight %s, went back %t\n", state.Stage, state.Weight, state.WentBack)
		for _, id := range slices.Sorted(maps.Keys(state.Changes)) {
			// A change that an earlier rollout expanded is not in every record.
			if st := state.Changes[id].State; st != rollout.Expanded {
				fmt.Fprintf(&b, "change %s is %s\n", id, st)
			}
		}
	}
	return b.String()
}

// follow runs moves up to and including last and gives the end state.
func follow(t *testing.T, w *world, moves []move) {
	t.Helper()
	for _, m := range moves {
		pass(m.wait)
		w.revive(0, false)
		res, err := w.runner().Run(t.Context(), m.work)
		if err != nil {
			t.Fatalf("%s: %v", m.name, err)
		}
		if res.Outcome != m.want {
			t.Fatalf("%s ended %s (%s), want %s", m.name, res.Outcome, res.Reason, m.want)
		}
		if w.dropped != "" {
			t.Fatalf("%s: %s", m.name, w.dropped)
		}
	}
}

// TestKillSweep kills the last phase of each story at every one of its calls,
// before and after the effect, runs the same command again, and expects the
// end state of the run that was not killed.
func TestKillSweep(t *testing.T) {
	type story struct {
		moves []move
		bad   func(*world)
	}
	good := func(*world) {}
	stories := map[string]story{
		"rollback":                   {takenBack(), good},
		"promote of a bad candidate": {failing(3), func(w *world) { w.errorShare = 0.5 }},
		"deploy of a candidate that does not come up": {failing(2), func(w *world) { w.broken = "v2" }},
	}
	bad := func(w *world) { w.errorShare = 0.5 }
	rollback := work(rollout.Rollback, "", 0)
	for name, whole := range map[string][]move{"": release(), "blue-green ": inOneMove(), "rolling ": batchwise(rollingStop)} {
		for i := range whole {
			stories[name+whole[i].name] = story{whole[:i+1], good}
		}
	}
	maps.Copy(stories, map[string]story{
		"hold":                                  {then(release()[:4], "hold", work(rollout.Hold, "", 0), rollout.Done), good},
		"blue-green rollback":                   {then(inOneMove()[:4], "rollback", rollback, rollout.Done), good},
		"blue-green promote of a bad candidate": {ending(inOneMove()[:4], rollout.Stopped), bad},
		"rolling rollback":                      {then(batchwise(rollingStop)[:3], "rollback", rollback, rollout.Done), good},
		"rolling rollback from the middle":      {then(ending(batchwise(rollingStop)[:3], rollout.NeedsPerson), "rollback", rollback, rollout.Done), bad},
		"rolling stop at a bad candidate":       {ending(batchwise(rollingStop)[:3], rollout.NeedsPerson), bad},
		"rolling back of a bad candidate":       {ending(batchwise(rollingBack)[:3], rollout.Stopped), bad},
		"rolling back of a crashing candidate":  {ending(batchwise(rollingBack)[:3], rollout.Stopped), func(w *world) { w.crashing = "v2" }},
		"rolling stop at one that does not come up": {
			ending(batchwise(rollingStop)[:3], rollout.Stopped), func(w *world) { w.broken = "v2" },
		},
		"rolling back of one that does not come up": {
			ending(batchwise(rollingBack)[:3], rollout.Stopped), func(w *world) { w.broken = "v2" },
		},
		"revert":                         {then(release()[:4], "revert", reverting(), rollout.Done), good},
		"revert before anything stood":   {then(release()[:2], "revert", reverting(), rollout.Done), good},
		"revert of a half-done expand":   {then(ending(release()[:2], rollout.Stopped), "revert", reverting(), rollout.Done), func(w *world) { w.schema.fails = "backfill" }},
		"revert later":                   {then(takenBack(), "revert", reverting(), rollout.Done), good},
		"expand after a revert":          {then(then(takenBack(), "revert", reverting(), rollout.Done), "expand", work(rollout.Expand, "v3", 0), rollout.Done), good},
		"blue-green revert":              {then(inOneMove()[:4], "revert", reverting(), rollout.Done), good},
		"rolling revert from the middle": {then(ending(batchwise(rollingStop)[:3], rollout.NeedsPerson), "revert", reverting(), rollout.Done), bad},
		"hide":                           {ending(hiding(release()), rollout.Waiting), good},
		"drop what is hidden":            {after(3*time.Hour, then(ending(hiding(release()), rollout.Waiting), "drop", work(rollout.Contract, "", 0), rollout.Done)), good},
		"restore what is hidden":         {then(ending(hiding(release()), rollout.Waiting), "restore", restoring(), rollout.Done), good},
		"restore what was dropped":       {then(release(), "restore", restoring(), rollout.Done), good},
		"contract what was restored":     {then(then(release(), "restore", restoring(), rollout.Done), "contract", work(rollout.Contract, "", 0), rollout.Done), good},
		"supersede one on trial":         {superseding(release()[:4]), good},
		"supersede one that is live":     {superseding(release()[:5]), good},
		"supersede a rolling update":     {superseding(ending(batchwise(rollingStop)[:3], rollout.NeedsPerson)), bad},
	})

	for name, story := range stories {
		t.Run(name, func(t *testing.T) {
			last := story.moves[len(story.moves)-1]
			before := story.moves[:len(story.moves)-1]
			var start *world
			var want string
			var at time.Time
			calls := 0
			var reads map[int]bool
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				story.bad(w)
				follow(t, w, before)
				start, at = w.clone(), time.Now()
				follow(t, w, story.moves[len(before):])
				want, calls, reads = picture(w), w.calls, w.reads
			})
			for n := 1; n <= calls; n++ {
				if reads[n] && n%stride(calls) != 0 || testing.Short() && n%7 != 0 {
					continue
				}
				for _, after := range []bool{false, true} {
					synctest.Test(t, func(t *testing.T) {
						pass(time.Until(at.Add(last.wait)))
						w := start.clone()
						w.revive(n, after)
						_, _ = w.runner().Run(t.Context(), last.work) //nolint:errcheck // it was killed
						w.revive(0, false)
						res, err := w.runner().Run(t.Context(), last.work)
						if err != nil {
							t.Fatalf("killed at call %d (after %t), then: %v", n, after, err)
						}
						if got := picture(w); got != want {
							t.Fatalf("killed at call %d (after %t), ended %s (%s):\n%s\nwant\n%s", n, after, res.Outcome, res.Reason, got, want)
						}
						if w.dropped != "" {
							t.Fatalf("killed at call %d (after %t): %s", n, after, w.dropped)
						}
					})
				}
			}
		})
	}
}

// stride thins out the calls of a long phase that only look: they are all
// alike. Whatever changes something is killed each time.
func stride(calls int) int {
	if calls > 60 {
		return 13
	}
	return 1
}
