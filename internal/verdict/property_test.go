package verdict

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// wild draws a rollout up to some step, sensible or not.
func wild(t *rapid.T) Question {
	q := asked(0, 0, nil)
	q.Limits.MinRequests = rapid.Int64Range(0, 50).Draw(t, "min requests")
	at := start.Add(-time.Hour)
	for range rapid.IntRange(1, 4).Draw(t, "steps") {
		q.Weight = rapid.SampledFrom([]int{0, 1, 10, 250, 500, 999, 1000}).Draw(t, "weight")
		q.Since = at
		length := time.Duration(rapid.SampledFrom([]int{500, 1000, 15000, 60000}).Draw(t, "length")) * time.Millisecond
		for range rapid.IntRange(0, 12).Draw(t, "samples") {
			for _, r := range []string{stable, candidate} {
				if rapid.IntRange(0, 9).Draw(t, "absent") == 0 {
					continue
				}
				n := rapid.Int64Range(0, 400).Draw(t, "requests")
				q.Samples = append(q.Samples, Sample{
					Revision: r, From: at, To: at.Add(length), Weight: q.Weight, Requests: n,
					Errors: rapid.Int64Range(0, n).Draw(t, "errors"), Slow: rapid.Int64Range(0, n/10).Draw(t, "slow"),
					HasCPU: true, CPU: time.Duration(n) * time.Millisecond, Memory: n << 20, Instances: 2,
				})
			}
			at = at.Add(length)
		}
	}
	q.Now = at
	q.Bake = time.Duration(rapid.IntRange(0, 60).Draw(t, "bake")) * time.Second
	for range rapid.IntRange(0, 8).Draw(t, "recorded") {
		n := rapid.Int64Range(0, 400).Draw(t, "recorded requests")
		q.Baseline = append(q.Baseline, Sample{Revision: stable, From: start.Add(-2 * time.Hour), To: start.Add(-119 * time.Minute),
			Weight: 1000, Requests: n, Errors: rapid.Int64Range(0, n).Draw(t, "recorded errors")})
	}
	return q
}

func TestMoreErrorsNeverHelpTheCandidate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := wild(t)
		before := Judge(q)
		q.Samples = append([]Sample(nil), q.Samples...)
		worse := false
		for i := range q.Samples {
			if s := &q.Samples[i]; s.Revision == candidate && s.Errors < s.Requests && rapid.Bool().Draw(t, "worse") {
				s.Errors += rapid.Int64Range(1, s.Requests-s.Errors).Draw(t, "more errors")
				worse = true
			}
		}
		after := Judge(q)
		if worse && (before.Verdict == Fail && after.Verdict != Fail || before.Verdict != Pass && after.Verdict == Pass) {
			t.Fatalf("%s (%s) became %s (%s)", before.Verdict, before.Reason, after.Verdict, after.Reason)
		}
		if a, b := before.Findings[0], after.Findings[0]; b.EValue < a.EValue*(1-1e-9) || b.UpperBound < a.UpperBound-1e-9 {
			t.Fatalf("evidence %g became %g, bound %g became %g", a.EValue, b.EValue, a.UpperBound, b.UpperBound)
		}
	})
}

// TestUnsteadinessOnlyMakesAFailRarer is what keeps the e-value one: it stays
// below what independent requests alone would make of it. Nor does the
// candidate have a say.
func TestUnsteadinessOnlyMakesAFailRarer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := wild(t)
		ev, past := gather(q), baseline(q)
		factor := unsteadiness(Errors, ev.history(q.Stable, past), ev.runs)
		if factor < 1 || factor > mostUnsteady {
			t.Fatalf("evidence would be divided by %v", factor)
		}
		j := Judge(q)
		if plain := logEvidence(ev.runs, Errors, math.NaN(), maxBurst); q.Weight < 1000 && j.Findings[0].EValue > max(1, finite(plain))*(1+1e-9) {
			t.Fatalf("e-value %g, undivided %g", j.Findings[0].EValue, finite(plain))
		}
		for i := range q.Samples {
			if s := &q.Samples[i]; s.Revision == candidate {
				s.Errors = rapid.Int64Range(0, s.Requests).Draw(t, "other errors")
			}
		}
		ev = gather(q)
		if after := unsteadiness(Errors, ev.history(q.Stable, past), ev.runs); after != factor {
			t.Fatalf("%v became %v by the candidate's errors", factor, after)
		}
	})
}

func TestTheOrderOfSamplesIsIrrelevant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := wild(t)
		before := Judge(q)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, s := range [][]Sample{q.Samples, q.Baseline} {
			rng.Shuffle(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
		}
		if d := cmp.Diff(before, Judge(q), cmpopts.EquateApprox(1e-9, 0)); d != "" {
			t.Fatal(d)
		}
	})
}

func TestHalvedSamplesDoNotTurnAFailIntoAPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := wild(t)
		q.Settle = 0                                   // else a half may settle that the whole did not
		q.Limits.CPURatio, q.Limits.MemoryRatio = 0, 0 // a finer meter has more blocks to show
		before := Judge(q)
		var halves []Sample
		for _, s := range q.Samples {
			a, b := s, s
			a.To = middle(s)
			b.From = a.To
			a.Requests, a.Errors, a.Slow, a.CPU = s.Requests/2, s.Errors/2, s.Slow/2, s.CPU/2
			b.Requests, b.Errors, b.Slow, b.CPU = s.Requests-a.Requests, s.Errors-a.Errors, s.Slow-a.Slow, s.CPU-a.CPU
			halves = append(halves, a, b)
		}
		q.Samples = halves
		after := Judge(q)
		if before.Verdict != after.Verdict && before.Verdict != Inconclusive && after.Verdict != Inconclusive {
			t.Fatalf("%s (%s) became %s (%s)", before.Verdict, before.Reason, after.Verdict, after.Reason)
		}
		if before.CandidateCounts != after.CandidateCounts {
			t.Fatalf("%+v became %+v", before.CandidateCounts, after.CandidateCounts)
		}
		if a, b := before.Findings[0].UpperBound, after.Findings[0].UpperBound; math.Abs(a-b) > 1e-12 {
			t.Fatalf("bound %g became %g", a, b)
		}
	})
}

func TestSilenceIsNeverAPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := wild(t)
		for i := range q.Samples {
			s := &q.Samples[i]
			if s.Revision == candidate && s.Weight == q.Weight && !s.From.Before(q.Since) {
				s.Requests, s.Errors, s.Slow = 0, 0, 0
			}
		}
		if j := Judge(q); j.Verdict == Pass {
			t.Fatalf("passed without a request: %s", j.Reason)
		}
	})
}

func TestEveryNumberIsFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, f := range Judge(wild(t)).Findings {
			for _, x := range []float64{f.Stable, f.Candidate, f.EValue, f.Threshold, f.UpperBound, f.LowerBound, f.Allowed} {
				if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 && x != f.UpperBound {
					t.Fatalf("%+v", f)
				}
			}
		}
	})
}

// TestNeededRequestsSuffice serves what NeededRequests asks for.
func TestNeededRequestsSuffice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := asked(rapid.SampledFrom([]int{10, 50, 250, 500}).Draw(t, "weight"), time.Minute, nil)
		q.Samples = during(start, 60, q.Weight, rate{requests: int64(1000 - q.Weight)}, rate{requests: int64(q.Weight)})
		for i := range q.Samples {
			q.Samples[i].Requests = q.Samples[i].Requests / 100
		}
		j := Judge(q)
		last := &q.Samples[len(q.Samples)-1]
		last.Requests += j.NeededRequests
		q.Samples[len(q.Samples)-2].Requests += j.NeededRequests * int64(1000-q.Weight) / int64(q.Weight)
		if after := Judge(q); j.NeededRequests > 0 && (after.Verdict != Pass || after.NeededRequests != 0) {
			t.Fatalf("asked for %d more, then %s: %s", j.NeededRequests, after.Verdict, after.Reason)
		}
	})
}
