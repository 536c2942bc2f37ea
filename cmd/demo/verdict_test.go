package main

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// combinations is every strategy with every fault.
func combinations() []options {
	var all []options
	for _, s := range strategies() {
		for _, f := range faults() {
			all = append(all, options{Strategy: s, Fault: f})
		}
	}
	return all
}

// Each combination has one right end, and what each fault may do to requests.
func TestVerdict(t *testing.T) {
	ends := map[fault]outcome{
		noFault: released, killBackfill: released, killPhase: released, killAgent: released,
		badErrors: rolledBack, badSlow: rolledBack, badMemory: rolledBack, crash: rolledBack, unhealthy: rolledBack, drift: rolledBack,
	}
	cuts := map[fault]bool{crash: true, killAgent: true}
	for _, o := range combinations() {
		good := result{Strategy: o.Strategy, Fault: o.Fault, Outcome: ends[o.Fault], CandidateBad: 7, CandidateBadBound: 7}
		other := released
		if good.Outcome == released {
			other = rolledBack
		}
		for _, tc := range []struct {
			name  string
			spoil func(r *result)
			good  bool
		}{
			{"as it should be", func(*result) {}, true},
			{"the other end", func(r *result) { r.Outcome = other }, false},
			{"failed, as is told already", func(r *result) { r.Outcome = failed }, true},
			{"dropped", func(r *result) { r.Dropped = 1 }, false},
			{"lost", func(r *result) { r.Lost = 1 }, false},
			{"clobbered", func(r *result) { r.Clobbered = 1 }, false},
			{"cut by a drain", func(r *result) { r.CutConnections = 1 }, false},
			{"cut by the fault", func(r *result) { r.CutByFault = 1 }, cuts[o.Fault]},
			{"worse than the fault explains", func(r *result) { r.CandidateBad = 8 }, false},
			{"met the candidate", func(r *result) { r.MetCandidate = 1 }, o.Fault != unhealthy},
		} {
			r := good
			tc.spoil(&r)
			if err := r.verdict(); (err == nil) != tc.good {
				t.Errorf("%s, %s, %s: verdict %v, want good: %t", o.Strategy, o.Fault, tc.name, err, tc.good)
			}
		}
	}
}

func TestVerdictTellsAllThatIsBroken(t *testing.T) {
	err := result{Fault: unhealthy, Outcome: released, Dropped: 3, MetCandidate: 5}.verdict()
	for _, part := range []string{"3 requests dropped", "5 requests met", "ended released, it should have rolled-back"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestBadBound(t *testing.T) {
	for _, tc := range []struct {
		share, rate, exposed float64
		want                 int64
	}{
		{0, 300, 100, 0},
		{0.05, 300, 0, 0},
		{0.05, 300, 0.2, 10},   // 3, and 4*1.7
		{0.05, 300, 4, 91},     // 60, and 4*7.7
		{0.05, 300, 400, 6310}, // 6000, and 4*77.5
	} {
		if got := badBound(tc.share, tc.rate, tc.exposed); got != tc.want {
			t.Errorf("%g of %g a second for %g s explain %d errors, want %d", tc.share, tc.rate, tc.exposed, got, tc.want)
		}
	}
}

// The command line takes every strategy and every fault, and each fault says
// what it is.
func TestFlagsNameEachCombination(t *testing.T) {
	for _, want := range combinations() {
		var o options
		parser, err := kong.New(&o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parser.Parse([]string{"--strategy", string(want.Strategy), "--fault", string(want.Fault)}); err != nil {
			t.Errorf("%s, %s: %v", want.Strategy, want.Fault, err)
		}
		if o.Strategy != want.Strategy || o.Fault != want.Fault || want.Fault.trouble().what == "" {
			t.Errorf("%s, %s was read as %s, %s", want.Strategy, want.Fault, o.Strategy, o.Fault)
		}
	}
}

func TestAFaultStrikesOnePhaseOrIsInTheService(t *testing.T) {
	for _, o := range combinations() {
		trouble, struck := o.Fault.trouble(), 0
		for _, s := range o.Strategy.steps() {
			if trouble.strikes(s) {
				struck++
			}
		}
		want := 1
		if o.Fault == noFault || len(trouble.env) > 0 {
			want = 0
		}
		if struck != want {
			t.Errorf("%s strikes %d phases of %s, want %d", o.Fault, struck, o.Strategy, want)
		}
	}
}
