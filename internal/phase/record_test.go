package phase_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gapless-deploy/gapless/internal/phase"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// counted is a store that notes what each save added.
type counted struct {
	phase.Store
	saves [][]rollout.Kind
}

func (c *counted) Save(ctx context.Context, r rollout.Record, follows rollout.Head) error {
	var added []rollout.Kind
	for _, e := range r.Entries {
		if e.Seq > follows.Seq {
			added = append(added, e.Kind)
		}
	}
	c.saves = append(c.saves, added)
	return c.Store.Save(ctx, r, follows)
}

// TestFewSaves: where each save takes seconds, a phase makes two, and what it
// changes of traffic or schema.
func TestFewSaves(t *testing.T) {
	for name, moves := range map[string][]move{
		"canary": release(), "blue-green": inOneMove(), "rolling": batchwise(rollingStop), "taken back": takenBack(),
	} {
		stage(t, nil, func(t *testing.T, w *world) {
			for _, m := range moves {
				pass(m.wait)
				store, r := &counted{Store: w}, w.runner()
				r.Store = store
				if _, err := r.Run(t.Context(), m.work); err != nil {
					t.Fatal(err)
				}
				plain := 0
				for _, added := range store.saves {
					if !slices.ContainsFunc(added, moves2) {
						plain++
					}
				}
				if plain > 2 {
					t.Errorf("%s: %s saves %d times besides traffic and schema: %v", name, m.name, plain, store.saves)
				}
			}
		})
	}
}

// moves2 reports whether an entry is of traffic or schema.
func moves2(k rollout.Kind) bool {
	return slices.Contains([]rollout.Kind{
		rollout.KindMigrating, rollout.KindMigrated, rollout.KindShifting, rollout.KindShifted,
		rollout.KindReplacing, rollout.KindReplaced, rollout.KindRolledBack,
	}, k)
}

// sealer signs with a word and knows its own signatures.
type sealer struct{ word string }

func (s sealer) Sign(_ context.Context, r rollout.Record) (rollout.Signature, error) {
	h := r.Head()
	return rollout.Signature{Seq: h.Seq, Hash: h.Hash, Method: rollout.SignedByKey, Value: s.word}, nil
}

func (s sealer) Verify(_ context.Context, r rollout.Record) error {
	if !r.Signed() || r.Signatures[len(r.Signatures)-1].Value != s.word {
		return errors.Join(rollout.ErrBroken, errors.New("the signature is somebody else's"))
	}
	return nil
}

// TestARecordThatNobodyVouchesForStopsAllButTheWayBack: each save is signed, and
// what is loaded must be.
func TestARecordThatNobodyVouchesForStopsAllButTheWayBack(t *testing.T) {
	stage(t, nil, func(t *testing.T, w *world) {
		as := func(word string, work phase.Work) phase.Result {
			r := w.runner()
			r.Seal = sealer{word}
			res, err := r.Run(t.Context(), work)
			if err != nil {
				t.Fatal(err)
			}
			return res
		}
		for _, m := range release()[:4] {
			expect(t, as("ours", m.work), rollout.Done)
		}
		expect(t, as("theirs", work(rollout.Promote, "", rollout.Full)), rollout.NeedsPerson, "somebody else's", "rollback")
		expect(t, as("theirs", work(rollout.Rollback, "", 0)), rollout.Done)
		if w.split.Blue != rollout.Full {
			t.Fatal(picture(w))
		}
	})
}

// TestTheHeadThatTheJobKnowsMustAgree: an older one is harmless, one of another
// chain is not, and one that the platform has forgotten is no first release.
func TestTheHeadThatTheJobKnowsMustAgree(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		told := func(h rollout.Head) phase.Work {
			work := work(rollout.Tick, "", 0)
			work.Head = h
			return work
		}
		record := w.records[w.mark.Head]
		older := rollout.Head{
			Rollout: record.Rollout, Seq: record.Entries[1].Seq, Hash: record.Entries[1].Hash, Run: record.Entries[1].Run,
		}
		expect(t, run(t, w, told(older)), rollout.Done)
		expect(t, run(t, w, told(w.mark.Head)), rollout.Done)
		other := w.mark.Head
		other.Hash = strings.Repeat("0", 64)
		expect(t, run(t, w, told(other)), rollout.NeedsPerson, "two heads")
		other.Seq += 7
		expect(t, run(t, w, told(other)), rollout.NeedsPerson, "no record is stored")

		forgotten := w.clone()
		head := forgotten.mark.Head
		forgotten.mark = nil
		deploy := work(rollout.Deploy, "v2", 0)
		deploy.Head = head
		expect(t, run(t, forgotten, deploy), rollout.NeedsPerson, "the platform carries no mark")
	})
}

// TestAJobOfAnotherRolloutIsRefused: one that is run again long after, say.
func TestAJobOfAnotherRolloutIsRefused(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		for _, p := range []rollout.Phase{rollout.Promote, rollout.Rollback, rollout.Retire, rollout.Hold} {
			work := work(p, "", 0)
			work.Rollout = "v1-000000"
			expect(t, run(t, w, work), rollout.Refused, "the job is of rollout v1-000000", w.mark.Rollout)
		}
		again := work(rollout.Deploy, "v1", 0)
		again.Rollout = "v1-000000"
		expect(t, run(t, w, again), rollout.Refused)
	})
	stage(t, firstRelease(), func(t *testing.T, w *world) {
		p, err := w.runner().Preview(t.Context(), work(rollout.Plan, "v2", 0))
		if err != nil {
			t.Fatal(err)
		}
		work := work(rollout.Expand, "v2", 0)
		work.Rollout = p.Rollout
		expect(t, run(t, w, work), rollout.Done)
		if w.mark.Rollout != p.Rollout {
			t.Errorf("planned as %s, opened as %s", p.Rollout, w.mark.Rollout)
		}
	})
}

// TestARolloutCannotTakeItsOwnGateAway: the gate goes with the release after.
func TestARolloutCannotTakeItsOwnGateAway(t *testing.T) {
	first := firstRelease()
	first[0].work.Config.Data = gatedConfig(first[0].work.Config.Data)
	stage(t, nil, func(t *testing.T, w *world) {
		p, err := w.runner().Preview(t.Context(), first[0].work)
		if err != nil {
			t.Fatal(err)
		}
		r := w.runner()
		r.Gates, first[0].work.Expect = approver{}, p.GateDigest
		if _, err := r.Run(t.Context(), first[0].work); err != nil {
			t.Fatal(err)
		}
		// v2's config has no gate any more.
		for _, m := range release()[1:3] {
			expect(t, run(t, w, m.work), rollout.Done)
		}
		res := run(t, w, work(rollout.Promote, "", 50))
		expect(t, res, rollout.Waiting, "environment production")
		r = w.runner()
		r.Gates = approver{}
		status, err := r.Status(t.Context(), work(rollout.Plan, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			step := work(rollout.Promote, "", 0)
			step.Expect = status.GateDigest
			res, err := r.Run(t.Context(), step)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, res, rollout.Done)
			status.GateDigest = res.GateDigest
		}
		pass(release()[6].wait)
		expect(t, run(t, w, work(rollout.Retire, "", 0)), rollout.Done)
		expect(t, run(t, w, release()[7].work), rollout.Done) // contract: the debt is its own
		// The release after it is free of the gate.
		deploy := firstRelease()[0].work
		deploy.Revision = "v3"
		expect(t, run(t, w, deploy), rollout.Done)
		expect(t, run(t, w, work(rollout.Promote, "", 50)), rollout.Done)
	})
}

// TestAllJobsRunAgainFindTheirWorkDone: also when the rollout is over.
func TestAllJobsRunAgainFindTheirWorkDone(t *testing.T) {
	for _, moves := range [][]move{release(), inOneMove(), batchwise(rollingStop)} {
		stage(t, firstRelease(), func(t *testing.T, w *world) {
			id := ""
			for i, m := range moves[1:] {
				pass(m.wait)
				m.work.Rollout = id
				expect(t, run(t, w, m.work), m.want)
				id = w.mark.Rollout
				before := picture(w)
				for _, earlier := range moves[1 : i+2] {
					earlier.work.Rollout = id
					expect(t, run(t, w, earlier.work), rollout.Done)
				}
				if after := picture(w); after != before {
					t.Fatalf("after %s, run again, it was\n%s\nand is\n%s", m.name, before, after)
				}
			}
		})
	}
}

// slow is a store that never finds what it looks for.
type slow struct {
	phase.Store
	asked func()
}

func (s slow) Load(ctx context.Context, _ string, _ rollout.Head) (rollout.Record, error) {
	s.asked()
	<-ctx.Done()
	return rollout.Record{}, context.Cause(ctx)
}

// TestTheWayBackDoesNotWaitForTheRecord: traffic moves before the record is
// looked for, which a store may do for ever.
func TestTheWayBackDoesNotWaitForTheRecord(t *testing.T) {
	stage(t, release()[:4], func(t *testing.T, w *world) {
		r := w.runner()
		r.Store = slow{w, func() {
			if w.split.Blue != rollout.Full {
				t.Errorf("the record was asked for before traffic was back:\n%s", picture(w))
			}
		}}
		began := time.Now()
		res, err := r.Run(t.Context(), work(rollout.Rollback, "", 0))
		if err != nil {
			t.Fatal(err)
		}
		expect(t, res, rollout.Done)
		if took := time.Since(began); took > 6*time.Second || w.split.Blue != rollout.Full {
			t.Errorf("took %s\n%s", took, picture(w))
		}
	})
}
