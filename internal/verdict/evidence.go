package verdict

import (
	"cmp"
	"slices"
	"time"
)

// A burst is the shortest time that evidence is gathered over: what goes wrong
// within one second is taken to have one cause.
const burst = time.Second

// evidence is what the samples say, in order and without what has to be left
// out.
type evidence struct {
	runs      []run
	stable    Counts // in the step: since the weight now in force settled
	candidate Counts
	coverage  map[string]coverage // of the step, by revision
	exposure  Exposure
	ignored   int
}

// A run is a stretch of time in which the split stayed the same.
type run struct {
	weight            int
	stable, candidate Counts
	cells             []cell
	samples           []Sample // settled, in order of time
}

// A cell is what both revisions did in one short time of a run.
type cell struct {
	span              time.Duration // the longer of the times that the two revisions were measured
	stable, candidate Counts
}

// coverage is how much of the step one revision was measured.
type coverage struct {
	span time.Duration
	last time.Time
}

func gather(q Question) evidence {
	ev := evidence{coverage: map[string]coverage{}}
	var samples []Sample
	for _, s := range q.Samples {
		if !sensible(s) || (s.Revision != q.Stable && s.Revision != q.Candidate) {
			ev.ignored++
			continue
		}
		if s.Weight > 0 { // at 0 the candidate meets smoke tests only
			samples = append(samples, whole(s))
		}
	}
	if !slices.IsSortedFunc(samples, inTime) {
		slices.SortFunc(samples, inTime)
	}
	for len(samples) > 0 {
		n := slices.IndexFunc(samples, func(s Sample) bool { return s.Weight != samples[0].Weight })
		if n < 0 {
			n = len(samples)
		}
		ev.add(q, samples[:n])
		samples = samples[n:]
	}
	return ev
}

// add takes in the samples of one run.
func (ev *evidence) add(q Question, samples []Sample) {
	r := run{weight: samples[0].Weight}
	shifted := samples[0].From
	if r.weight == q.Weight && shifted.After(q.Since) {
		shifted = q.Since // the meter began later
	}
	settling := func(s Sample, since time.Time) bool {
		return !s.From.Before(since) && s.From.Before(since.Add(q.Settle))
	}
	for _, s := range samples {
		ev.expose(q, s)
		if settling(s, shifted) || settling(s, q.Since) {
			continue
		}
		r.samples = append(r.samples, s)
		ofCandidate := s.Revision == q.Candidate
		addTo(&r.stable, &r.candidate, ofCandidate, s)
		if s.Weight == q.Weight && !s.From.Before(q.Since) {
			addTo(&ev.stable, &ev.candidate, ofCandidate, s)
			c := ev.coverage[s.Revision]
			c.span += s.To.Sub(s.From)
			if s.To.After(c.last) {
				c.last = s.To
			}
			ev.coverage[s.Revision] = c
		}
	}
	if len(r.samples) == 0 {
		return
	}
	r.cells = cells(r.samples, q.Candidate)
	ev.runs = append(ev.runs, r)
}

func (ev *evidence) expose(q Question, s Sample) {
	ev.exposure.Requests += s.Requests
	if s.Revision == q.Candidate {
		ev.exposure.Candidate = ev.exposure.Candidate.plus(s)
	}
}

// cells cuts a run's samples, in order of time, into cells as long as its
// usual sample, at least a burst. A sample belongs where its middle lies, so
// that two revisions read out a little apart still meet.
func cells(samples []Sample, candidate string) []cell {
	width := max(burst, usualLength(samples))
	type measured struct{ stable, candidate time.Duration }
	var (
		out   []cell
		spans measured
		at    = int64(-1)
	)
	byMiddle := slices.Clone(samples)
	inMiddle := func(a, b Sample) int { return middle(a).Compare(middle(b)) }
	if !slices.IsSortedFunc(byMiddle, inMiddle) {
		slices.SortStableFunc(byMiddle, inMiddle)
	}
	start := samples[0].From
	for _, s := range byMiddle {
		if i := int64(middle(s).Sub(start) / width); i != at || len(out) == 0 {
			out, spans, at = append(out, cell{}), measured{}, i
		}
		c := &out[len(out)-1]
		if s.Revision == candidate {
			spans.candidate += s.To.Sub(s.From)
		} else {
			spans.stable += s.To.Sub(s.From)
		}
		c.span = max(spans.stable, spans.candidate)
		addTo(&c.stable, &c.candidate, s.Revision == candidate, s)
	}
	return out
}

func usualLength(samples []Sample) time.Duration {
	lengths := make([]time.Duration, len(samples))
	for i, s := range samples {
		lengths[i] = s.To.Sub(s.From)
	}
	slices.Sort(lengths)
	return lengths[len(lengths)/2]
}

func middle(s Sample) time.Time { return s.From.Add(s.To.Sub(s.From) / 2) }

func sensible(s Sample) bool {
	return s.To.After(s.From) && s.Weight >= 0 && s.Weight <= 1000 &&
		s.Requests >= 0 && s.Errors >= 0 && s.Slow >= 0
}

// whole mends a sample read while requests were being counted: a request that
// went wrong was a request.
func whole(s Sample) Sample {
	s.Requests = max(s.Requests, s.Errors, s.Slow)
	return s
}

// inTime orders samples the same way however they came in.
func inTime(a, b Sample) int {
	return cmp.Or(a.From.Compare(b.From), a.To.Compare(b.To), cmp.Compare(a.Revision, b.Revision),
		cmp.Compare(a.Weight, b.Weight), cmp.Compare(a.Requests, b.Requests),
		cmp.Compare(a.Errors, b.Errors), cmp.Compare(a.Slow, b.Slow))
}

func addTo(stable, candidate *Counts, ofCandidate bool, s Sample) {
	if ofCandidate {
		*candidate = candidate.plus(s)
	} else {
		*stable = stable.plus(s)
	}
}

func (c Counts) plus(s Sample) Counts {
	return Counts{c.Requests + s.Requests, c.Errors + s.Errors, c.Slow + s.Slow}
}

// of is the count of what m is about.
func (c Counts) of(m Metric) int64 {
	if m == Slow {
		return c.Slow
	}
	return c.Errors
}
