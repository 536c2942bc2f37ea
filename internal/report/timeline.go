package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/gapless-deploy/gapless/internal/rollout"
)

// turn is one run of a phase, from its first entry to its last.
type turn struct {
	phase    rollout.Phase
	run      string
	attempt  int
	actor    string
	from, to time.Time
	ended    bool
	began    bool
	goal     rollout.Weight // asked for and not reached
	back     bool           // it took the candidate back
	did      []string
	times    int // how many runs in a row did the same
}

// timeline tells when each phase ran, what it did and who ran it.
func (v View) timeline() part {
	names := namesOf(v.State.Opening)
	t := table{head: []string{"When (UTC)", "Took", "Phase", "What", "By"}, right: make([]bool, 5), newest: true}
	turns := turnsOf(v.Record, names)
	for i, r := range turns {
		took := lasting(r.to.Sub(r.from))
		if !r.ended && i == len(turns)-1 {
			took = "not ended"
		}
		if r.goal > 0 {
			r.did = append([]string{"asked for " + r.goal.String()}, r.did...)
		}
		did := strings.Join(r.did, "; ")
		if did == "" && r.phase == rollout.Tick && r.ended {
			did = "looked, nothing wrong seen"
		}
		if r.times > 1 {
			did = fmt.Sprintf("%d times: %s", r.times, did)
		}
		who := by(r.actor, r.run, r.attempt)
		t.rows = append(t.rows, cells(r.from.UTC().Format(stamp), took, string(r.phase), did, who))
	}
	return part{heading: "What happened", table: &t}
}

// by names who ran a phase, and in which job.
func by(actor, run string, attempt int) string {
	who := actor
	if run != "" {
		who = strings.TrimSpace(fmt.Sprintf("%s (run %s)", actor, run))
	}
	if attempt > 1 {
		who += fmt.Sprintf(", attempt %d", attempt)
	}
	return who
}

// turnsOf groups the entries by the run of a phase that wrote them. Looks of
// tick that found nothing are one line.
func turnsOf(r rollout.Record, names naming) []turn {
	var turns []turn
	for _, e := range r.Entries {
		data, err := e.Decode()
		last := len(turns) - 1
		_, begins := data.(*rollout.Began)
		fresh := last < 0 || turns[last].phase != e.Phase || turns[last].run != e.Run || turns[last].attempt != e.Attempt ||
			turns[last].ended || begins && turns[last].began
		if fresh {
			turns = append(fold(turns), turn{
				phase: e.Phase, run: e.Run, attempt: e.Attempt, actor: e.Actor, from: e.At, times: 1,
			})
			last = len(turns) - 1
		}
		t := &turns[last]
		t.to = e.At
		if err != nil {
			t.did = append(t.did, "an entry that this build cannot read")
			continue
		}
		t.add(data, names)
	}
	return fold(turns)
}

// fold joins the last two runs when both are looks that did the same.
func fold(turns []turn) []turn {
	n := len(turns)
	if n < 2 {
		return turns
	}
	a, b := &turns[n-2], turns[n-1]
	same := a.phase == rollout.Tick && b.phase == rollout.Tick && a.ended && b.ended && a.actor == b.actor &&
		strings.Join(a.did, "\n") == strings.Join(b.did, "\n")
	if !same {
		return turns
	}
	a.to, a.times, a.run, a.attempt = b.to, a.times+b.times, "", 1
	return turns[:n-1]
}

// smoked says how many smoke tests passed; that there are none is no success.
func smoked(n int) string {
	if n == 0 {
		return "no smoke test"
	}
	return of(int64(n), "smoke test") + " passed"
}

// add says what an entry tells of the run.
func (t *turn) add(data rollout.Data, names naming) {
	did := func(format string, args ...any) { t.did = append(t.did, fmt.Sprintf(format, args...)) }
	switch d := data.(type) {
	case *rollout.Opened:
		if d.Stable.Zero() {
			did("first release, %s", names.name(d.Candidate))
		} else {
			did("release of %s over %s", names.name(d.Candidate), names.name(d.Stable))
		}
	case *rollout.Began:
		t.began = true
		t.begin(*d, did)
	case *rollout.Migrated:
		t.migrated(*d)
	case *rollout.Launched:
		did("%s of %s ready in %s", of(int64(d.Instances), "instance"), names.name(d.Revision), lasting(seconds(d.Seconds)))
	case *rollout.Checked:
		did("%s%s", smoked(d.Smoke), warmed(*d))
	case *rollout.Replaced:
		did("%s brought into service%s, %s%s", batch(d.Replacing), inForce(d.Decided, d.InForce), smoked(d.Smoke), warmed(d.Checked))
		cutOff(did, d.Cut)
	case *rollout.Shifted:
		if d.To == t.goal {
			t.goal = 0
		}
		did("%s to %s%s", d.From, d.To, inForce(d.Decided, d.InForce))
		because(did, d.Reason)
	case *rollout.Judged:
		did("verdict at %s: %s", d.Weight, d.Verdict)
	case *rollout.Retired:
		did("%s drained and stopped", names.name(d.Revision))
		cutOff(did, d.Cut)
	case *rollout.Settled:
		did("%s is stable now", names.name(d.Stable))
	case *rollout.RolledBack:
		t.back = true
		if d.Decided.Before(t.from) && !d.Decided.IsZero() { // traffic goes first, the record after it
			t.from = d.Decided
		}
		did("taken back from %s%s", d.From, inForce(d.Decided, d.InForce))
		because(did, d.Reason)
	case *rollout.Held:
		did("put on hold")
		because(did, d.Reason)
	case *rollout.Adopted:
		did("record begun anew with %s, after entry %d was lost", names.name(d.Stable), d.Lost.Seq)
		because(did, d.Reason)
	case *rollout.Ended:
		t.ended = true
		if d.Outcome != rollout.Done {
			did("%s", strings.ReplaceAll(string(d.Outcome), "-", " a "))
			if !t.back { // else the reason is there already
				because(did, d.Reason)
			}
		}
	}
}

func (t *turn) begin(d rollout.Began, did func(string, ...any)) {
	t.goal = d.To
	if d.Approval != "" {
		did("approved: %s", d.Approval)
	}
	switch {
	case d.Accepted == "":
	case t.phase == rollout.Contract:
		did("signals that cannot be read accepted: %s", d.Accepted)
	default:
		did("inconclusive verdict accepted: %s", d.Accepted)
	}
}

// migrated counts the steps of one change until it has reached a state.
func (t *turn) migrated(d rollout.Migrated) {
	line := fmt.Sprintf("change %s: step %s done", d.Change, d.Step)
	switch {
	case t.phase == rollout.Restore && d.State == rollout.Expanded:
		line = fmt.Sprintf("old form of change %s brought back", d.Change)
	case d.State == rollout.Expanded, d.State == rollout.Contracted, d.State == rollout.Hidden:
		line = fmt.Sprintf("change %s %s", d.Change, d.State)
	case d.State == rollout.Absent:
		line = fmt.Sprintf("change %s taken back", d.Change)
	}
	if n := len(t.did) - 1; n >= 0 && strings.HasPrefix(t.did[n], "change "+d.Change+":") {
		t.did[n] = line
		return
	}
	t.did = append(t.did, line)
}

// batch names the instances that a rolling update replaced together.
func batch(r rollout.Replacing) string {
	if r.To == r.From+1 {
		return fmt.Sprintf("instance %d of %d", r.To, r.Of)
	}
	return fmt.Sprintf("instances %d to %d of %d", r.From+1, r.To, r.Of)
}

// cutOff tells of connections that outlasted the drain.
func cutOff(did func(string, ...any), cut int) {
	if cut > 0 {
		did("%s cut at the end of the drain", of(int64(cut), "connection"))
	}
}

func because(did func(string, ...any), reason string) {
	if reason != "" {
		did("%s", reason)
	}
}

func warmed(d rollout.Checked) string {
	if d.Warmup == 0 {
		return ""
	}
	line := ", " + of(int64(d.Warmup), "warm-up request")
	if d.WarmupFailed > 0 {
		line += fmt.Sprintf(", %s of them failed", count(int64(d.WarmupFailed)))
	}
	return line
}

// inForce says how long a decision took to be in force.
func inForce(decided, inForce time.Time) string {
	if decided.IsZero() || inForce.Before(decided) {
		return ""
	}
	return ", in force after " + lasting(inForce.Sub(decided))
}
