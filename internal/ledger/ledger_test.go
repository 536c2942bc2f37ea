package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gapless-deploy/gapless/internal/ledger"
)

var start = time.Date(2026, 3, 14, 9, 0, 0, 0, time.UTC)

func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

func TestWhoIsToBlame(t *testing.T) {
	refused := fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	for _, tc := range []struct {
		name                       string
		answer                     ledger.Answer
		dropped, candidateBad, cut int64
		cause                      string
	}{
		{name: "a good answer", answer: ledger.Answer{Status: 200, Revision: "new"}},
		{name: "a missing page is an answer", answer: ledger.Answer{Status: 404, Revision: "old"}},
		{name: "refused", answer: ledger.Answer{Err: refused}, dropped: 1, cause: "connection refused"},
		{name: "no status and no reason", answer: ledger.Answer{}, dropped: 1, cause: "answered 0"},
		{name: "cut in the middle, even by the candidate", dropped: 1, cause: "connection reset",
			answer: ledger.Answer{Status: 200, Revision: "new", Err: syscall.ECONNRESET}},
		{name: "the router's own 502 in the candidate's name", dropped: 1, cause: "router: upstream",
			answer: ledger.Answer{Status: 502, Revision: "new", Router: "upstream"}},
		{name: "the candidate's 500", candidateBad: 1, cause: "new answered 500",
			answer: ledger.Answer{Status: 500, Revision: "new"}},
		{name: "the candidate's own 502", candidateBad: 1, cause: "new answered 502",
			answer: ledger.Answer{Status: 502, Revision: "new"}},
		{name: "the candidate answered something else", candidateBad: 1, cause: "new answered 404",
			answer: ledger.Answer{Status: 404, Revision: "new", Wrong: true}},
		{name: "stable's 500 is held against the release", dropped: 1, cause: "old answered 500",
			answer: ledger.Answer{Status: 500, Revision: "old"}},
		{name: "a 500 of nobody known", dropped: 1, cause: "answered 500", answer: ledger.Answer{Status: 500}},
		{name: "refused in a fault", answer: ledger.Answer{Err: refused, Started: at(5000), Ended: at(5001)},
			cut: 1, cause: "connection refused"},
		{name: "under way when the fault began", answer: ledger.Answer{Err: refused, Started: at(4000), Ended: at(5000)},
			cut: 1, cause: "connection refused"},
		{name: "after the fault", answer: ledger.Answer{Err: refused, Started: at(6001), Ended: at(6002)},
			dropped: 1, cause: "connection refused"},
		{name: "good in spite of the fault", answer: ledger.Answer{Status: 200, Started: at(5500), Ended: at(5501)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := ledger.New(ledger.Options{Candidate: "new"})
			l.Fault(at(5000))(at(6000))
			l.Add(tc.answer)
			got := l.Summary()
			if got.Requests != 1 || got.Dropped != tc.dropped || got.CandidateBad != tc.candidateBad || got.CutByFault != tc.cut {
				t.Errorf("got %d requests, %d dropped, %d bad, %d cut; want 1, %d, %d, %d",
					got.Requests, got.Dropped, got.CandidateBad, got.CutByFault, tc.dropped, tc.candidateBad, tc.cut)
			}
			var cause string
			if len(got.Causes) == 1 {
				cause = got.Causes[0].What
			}
			if cause != tc.cause {
				t.Errorf("cause %q, want %q", cause, tc.cause)
			}
		})
	}
}

// Where the candidate is made to crash, what that cut is the fault's; what
// gapless or its router did by itself is not.
func TestACrashCutsOnlyWhatTheCandidateHad(t *testing.T) {
	for _, tc := range []struct {
		name                       string
		answer                     ledger.Answer
		dropped, candidateBad, cut int64
	}{
		{name: "the router answered in its name", cut: 1,
			answer: ledger.Answer{Status: 502, Revision: "new", Router: "the instance did not answer"}},
		{name: "its answer broke off", cut: 1, answer: ledger.Answer{Status: 200, Revision: "new", Err: io.ErrUnexpectedEOF}},
		{name: "its answer was reset", cut: 1, answer: ledger.Answer{Status: 200, Revision: "new", Err: syscall.ECONNRESET}},
		{name: "its own error", candidateBad: 1, answer: ledger.Answer{Status: 500, Revision: "new"}},
		{name: "its answer took too long", dropped: 1,
			answer: ledger.Answer{Status: 200, Revision: "new", Err: context.DeadlineExceeded}},
		{name: "the router had nobody", dropped: 1, answer: ledger.Answer{Status: 503, Router: "no instance is ready"}},
		{name: "the router answered in stable's name", dropped: 1,
			answer: ledger.Answer{Status: 502, Revision: "old", Router: "the instance did not answer"}},
		{name: "stable's answer broke off", dropped: 1, answer: ledger.Answer{Status: 200, Revision: "old", Err: io.ErrUnexpectedEOF}},
		{name: "no head came", dropped: 1, answer: ledger.Answer{Err: io.EOF}},
		{name: "refused", dropped: 1, answer: ledger.Answer{Err: syscall.ECONNREFUSED}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := ledger.New(ledger.Options{Candidate: "new", Crashes: true})
			l.Add(tc.answer)
			got := l.Summary()
			if got.Dropped != tc.dropped || got.CandidateBad != tc.candidateBad || got.CutByFault != tc.cut {
				t.Errorf("got %d dropped, %d bad, %d cut; want %d, %d, %d",
					got.Dropped, got.CandidateBad, got.CutByFault, tc.dropped, tc.candidateBad, tc.cut)
			}
		})
	}
}

// A fault is told of before anybody knows when it will be over.
func TestAFaultLastsUntilItIsOver(t *testing.T) {
	l := ledger.New(ledger.Options{})
	refused := func(ms int) {
		l.Add(ledger.Answer{Err: syscall.ECONNREFUSED, Started: at(ms), Ended: at(ms + 1)})
	}
	refused(4000)
	over := l.Fault(at(5000))
	refused(5500)
	refused(7500)
	over(at(8000))
	refused(7900)
	refused(8001)
	if got := l.Summary(); got.CutByFault != 3 || got.Dropped != 2 {
		t.Errorf("%d cut and %d dropped, want 3 and 2", got.CutByFault, got.Dropped)
	}
}

func TestWithoutACandidateNothingIsForgiven(t *testing.T) {
	l := ledger.New(ledger.Options{})
	l.Add(ledger.Answer{Status: 500})
	l.Add(ledger.Answer{Status: 500, Revision: "old"})
	if got := l.Summary(); got.Dropped != 2 || got.CandidateBad != 0 || got.Exposure() != 0 {
		t.Errorf("got %+v, want both dropped and no exposure", got)
	}
}

func TestExposure(t *testing.T) {
	l := ledger.New(ledger.Options{Candidate: "new"})
	for range 3 {
		l.Add(ledger.Answer{Status: 200, Revision: "old"})
	}
	l.Add(ledger.Answer{Status: 500, Revision: "new"})
	if got := l.Summary().Exposure(); got != 25 {
		t.Errorf("exposure %g%%, want 25%%", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	l := ledger.New(ledger.Options{Recent: 8})
	for i := range 10_000 {
		l.Add(ledger.Answer{Status: 500, Revision: fmt.Sprint("r", i), Started: at(i)})
	}
	got := l.Summary()
	if len(got.Answered) > 17 || len(got.Causes) > 33 {
		t.Errorf("%d revisions and %d causes are kept apart", len(got.Answered), len(got.Causes))
	}
	if got.Causes[0].What != "other" || got.Causes[0].Last != at(9999) {
		t.Errorf("the rest went to %+v, want other, last seen at the end", got.Causes[0])
	}
	var all int64
	for _, n := range got.Answered {
		all += n
	}
	if all != 10_000 {
		t.Errorf("%d answers are accounted for, want 10000", all)
	}
}

func TestReadHeaders(t *testing.T) {
	for _, tc := range []struct{ weight, want string }{
		{"0.1", "0.1%"}, {"100", "100%"}, {"", "none"}, {"a lot", "none"}, {"101", "none"},
	} {
		h := http.Header{}
		h.Set(ledger.HeaderRevision, "1.1")
		h.Set(ledger.HeaderError, "no instance")
		h.Set(ledger.HeaderWeight, tc.weight)
		var a ledger.Answer
		a.Read(h)
		got := "none"
		if a.Weight != nil {
			got = a.Weight.String()
		}
		if got != tc.want || a.Revision != "1.1" || a.Router != "no instance" {
			t.Errorf("weight %q: read %s of %+v, want %s", tc.weight, got, a, tc.want)
		}
	}
}

func TestSummaryIsACopy(t *testing.T) {
	l := ledger.New(ledger.Options{})
	l.Add(ledger.Answer{Err: errors.New("strange")})
	first := l.Summary()
	l.Add(ledger.Answer{Status: 200, Revision: "old"})
	l.Miss()
	want := []ledger.Cause{{What: "other failure of the connection", Count: 1}}
	if diff := cmp.Diff(want, first.Causes); diff != "" || first.Answered["old"] != 0 || first.Missed != 0 {
		t.Errorf("an earlier summary changed: %+v\n%s", first, diff)
	}
}
