package verdict

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// doubt is the chance that the bound of excess lies too low at one look: as
// that of failing an equal candidate, 1 %. A step is looked at again and again
// until it passes, which makes it several times that, though less than the
// customary 5 % (BenchmarkJudgeWrongPass: 500 looks over six bakes).
const doubt = 0.01

// enough is where the search for a number of requests gives up.
const enough = 1e12

// upperShare and lowerShare are the exact one-sided limits of a share (Clopper
// and Pearson 1934) after bad of n, either of which may be a fraction.
func upperShare(bad, n, alpha float64) float64 {
	if n <= 0 || bad >= n {
		return 1
	}
	return distuv.Beta{Alpha: bad + 1, Beta: n - bad}.Quantile(1 - alpha)
}

func lowerShare(bad, n, alpha float64) float64 {
	if n <= 0 || bad <= 0 {
		return 0
	}
	return distuv.Beta{Alpha: bad, Beta: n - bad + 1}.Quantile(alpha)
}

// excessBound is the upper limit of the candidate's share less stable's, from
// the limits of each (Newcombe 1998, method 10; Donner and Zou 2012). With
// nothing wrong in either it is the exact one: about 4.6/n.
func excessBound(candidate, ofCandidate, stable, ofStable float64) float64 {
	if ofCandidate <= 0 || ofStable <= 0 {
		return 1
	}
	c, s := candidate/ofCandidate, stable/ofStable
	above := upperShare(candidate, ofCandidate, doubt) - c
	below := s - lowerShare(stable, ofStable, doubt)
	return min(1, c-s+math.Hypot(above, below))
}

// allowed is what the excess at a weight may be: the whole of the public
// traffic may become worse by l.WorseBy. It is at most 1, below which no bound
// lies that rests on nothing.
func (l Limit) allowed(weight int) float64 { return min(1, l.WorseBy*1000/float64(weight)) }

// arms are the counts of one metric on both sides.
type arms struct{ candidate, ofCandidate, stable, ofStable float64 }

// needed is how many requests the candidate must have served for its bound to
// fall below allowed, when from here on both do as stable did and the split
// stays as it is. It is at most enough.
func (a arms) needed(allowed, candidateShare float64) float64 {
	p := 0.0
	if a.ofStable > 0 {
		p = a.stable / a.ofStable
	}
	beside := (1 - candidateShare) / candidateShare
	below := func(n float64) bool {
		more := max(0, n-a.ofCandidate)
		return excessBound(a.candidate+p*more, a.ofCandidate+more,
			a.stable+p*more*beside, a.ofStable+more*beside) < allowed
	}
	if below(a.ofCandidate) {
		return a.ofCandidate
	}
	hi := max(1, a.ofCandidate)
	for ; !below(hi); hi *= 2 {
		if hi >= enough {
			return enough
		}
	}
	lo := math.Floor(max(a.ofCandidate, hi/2))
	return lo + float64(sort.Search(int(math.Ceil(hi-lo)), func(i int) bool { return below(lo + float64(i)) }))
}
