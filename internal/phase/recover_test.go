package phase_test

import (
	"context"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// notebook is a journal in memory, which outlives the process.
type notebook struct {
	kept rollout.Journalled
	full bool
}

func (n *notebook) Keep(_ context.Context, kept rollout.Journalled) error {
	n.kept, n.full = kept, true
	return nil
}

func (n *notebook) Load(context.Context) (rollout.Journalled, error) {
	if !n.full {
		return rollout.Journalled{}, rollout.ErrNotFound
	}
	return n.kept, nil
}

func (n *notebook) Drop(context.Context) error {
	*n = notebook{}
	return nil
}

func journalled(w *world, n *notebook) *phase.Runner {
	r := w.runner()
	r.Journal = n
	return r
}

// cut runs a phase that is killed at its call n.
func cut(t *testing.T, w *world, n *notebook, call int, work phase.Work) {
	t.Helper()
	w.revive(call, false)
	_, _ = journalled(w, n).Run(t.Context(), work) //nolint:errcheck // it was killed
	if !w.dead {
		t.Fatalf("call %d: not killed", call)
	}
	w.revive(0, false)
}

// TestACutPhaseIsWrittenDownAfterwards: at whichever call a phase is killed, the
// step that runs after it writes down what is known and moves nothing; the phase
// run again ends as it would have.
func TestACutPhaseIsWrittenDownAfterwards(t *testing.T) {
	stage(t, release()[:2], func(t *testing.T, w *world) {
		counting := w.clone()
		counting.revive(0, false)
		run(t, counting, work(rollout.Deploy, "v2", 0))
		for call := 1; call <= counting.calls; call++ {
			v, n := w.clone(), &notebook{}
			cut(t, v, n, call, work(rollout.Deploy, "v2", 0))
			split, sides := v.split, len(v.sides)
			got, err := journalled(v, n).Recover(t.Context())
			if err != nil {
				t.Fatalf("call %d: %v", call, err)
			}
			if v.split != split || len(v.sides) != sides {
				t.Fatalf("call %d: recovering changed the platform:\n%s", call, picture(v))
			}
			if n.full {
				t.Errorf("call %d: the journal is still there", call)
			}
			if len(got.Record.Entries) > 0 {
				state, err := rollout.Fold(got.Record)
				if err != nil || state.Begun != nil || v.mark.Head != got.Record.Head() || v.mark.Lease != nil {
					t.Errorf("call %d: %v, begun %v, lease %v", call, err, state.Begun, v.mark.Lease)
				}
			}
			expect(t, run(t, v, work(rollout.Deploy, "v2", 0)), rollout.Done)
		}
	})
}

// TestRecoverLeavesThoseAtWorkAlone: a container can outlive its step, and
// another run can have gone on.
func TestRecoverLeavesThoseAtWorkAlone(t *testing.T) {
	stage(t, release()[:3], func(t *testing.T, w *world) {
		n := &notebook{}
		first := make(chan phase.Result, 1)
		go func() {
			res, err := journalled(w, n).Run(t.Context(), work(rollout.Promote, "", 50))
			if err != nil {
				t.Error(err)
			}
			first <- res
		}()
		pass(10 * time.Second)
		if _, err := journalled(w, n).Recover(t.Context()); err == nil {
			t.Error("recovered a phase that is at work")
		}
		expect(t, <-first, rollout.Done)
		if got, err := journalled(w, n).Recover(t.Context()); err != nil || got.Said != "" {
			t.Errorf("after a phase that ended by itself: %q, %v", got.Said, err)
		}
	})
	stage(t, release()[:3], func(t *testing.T, w *world) {
		n := &notebook{}
		cut(t, w, n, 20, work(rollout.Promote, "", 50))
		expect(t, run(t, w, work(rollout.Rollback, "", 0)), rollout.Done)
		head := w.mark.Head
		got, err := journalled(w, n).Recover(t.Context())
		if err != nil || len(got.Record.Entries) != 0 || w.mark.Head != head {
			t.Errorf("wrote %d entries over another run's, %v", len(got.Record.Entries), err)
		}
	})
}
