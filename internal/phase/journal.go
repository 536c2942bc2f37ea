package phase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// begin writes down that the phase has begun, where a record is there to
// write to. A phase that opens one does so after opening it.
func (s *session) begin(ctx context.Context) error {
	if needsDatabase(s.work.Request.Phase) && s.db != nil && (len(s.in.Changes)+len(s.in.Owed) > 0 || s.in.Known != nil) {
		if err := s.lockDatabase(ctx, false); err != nil {
			return err
		}
	}
	if p := s.work.Request.Phase; s.in.Fresh || p == rollout.Rollback || p == rollout.Hold { // what they do goes first
		return nil
	}
	return s.writeBegan(ctx)
}

func (s *session) writeBegan(ctx context.Context) error {
	began := s.beginning()
	if len(began) == 0 {
		return nil
	}
	return s.write(ctx, nil, began...)
}

// beginning is the entry that begins the phase; none where it is there already.
func (s *session) beginning() []rollout.Data {
	if s.begun || s.unrecorded {
		return nil
	}
	s.begun = true
	if s.supersedes() { // what is approved and accepted is of the rollout after it
		return []rollout.Data{rollout.Began{Epoch: s.lease.epoch}}
	}
	b := rollout.Began{Epoch: s.lease.epoch}
	if s.work.Request.Phase == rollout.Promote {
		b.To = plan.Goal(s.in)
	}
	switch gate := s.in.Gate; {
	case gate == nil:
		b.Digest, b.Accepted = s.expect, s.work.Request.Accept
	case gate.Open: // a shut one lets nothing through, whatever was named or accepted
		b.Digest, b.Accepted, b.Gate, b.Approval = s.expect, s.work.Request.Accept, gate.Name, gate.Approval
	}
	return []rollout.Data{b}
}

// open begins the record of a new rollout, chained to the one before, and the
// phase in it.
func (s *session) open(ctx context.Context, o rollout.Opened) error {
	id, err := s.rolloutID()
	if err != nil {
		return err
	}
	o.PlanDigest, err = s.planDigest(o)
	if err != nil {
		return err
	}
	if before := s.in.State; before != nil {
		o.Spent = before.Spent(s.in.Seen.At)
	}
	s.record = rollout.NewRecord(s.in.Config.Service, id)
	err = s.write(ctx, func(m *rollout.Mark) {
		m.Rollout = id
		m.Candidate, m.CandidateSide, m.Strategy, m.Back = o.Candidate, o.Side, o.Strategy, nil
		m.Gates = o.Gates
	}, append([]rollout.Data{o}, s.beginning()...)...)
	if err != nil {
		return err
	}
	s.in.Fresh, s.in.WentBack = false, false
	return nil
}

// write appends entries, saves the record, and moves the head to it. What else
// changes on the mark goes with the same stamp.
func (s *session) write(ctx context.Context, edit func(*rollout.Mark), entries ...rollout.Data) error {
	if s.unrecorded {
		return s.stampIf(ctx, edit)
	}
	if err := s.note(ctx, entries...); err != nil {
		return err
	}
	return s.save(ctx, edit)
}

// note appends entries that the next save takes along. It is for what a phase
// that goes on after a kill finds out again by looking: each save takes seconds
// where the store is far away.
func (s *session) note(ctx context.Context, entries ...rollout.Data) error {
	if s.unrecorded || len(entries) == 0 {
		return nil
	}
	next := s.record
	for _, data := range entries {
		data, err := s.hidden(data)
		if err != nil {
			return err
		}
		if next, err = next.Append(s.head, s.in.Seen.At, s.r.Writer, s.work.Request.Phase, data); err != nil {
			return err
		}
	}
	if err := s.adopt(next); err != nil {
		return err
	}
	s.keep(ctx)
	if s.saved.Rollout == next.Rollout { // else it is not in force, and may never be
		s.tell(Event{Record: &next})
	}
	return nil
}

// hidden is an entry without secrets: an instance's last words may hold some.
// The files that a record begins with are what somebody has published.
func (s *session) hidden(data rollout.Data) (rollout.Data, error) {
	if k := data.Kind(); s.r.Hide == nil || k == rollout.KindOpened || k == rollout.KindAdopted {
		return data, nil
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", data.Kind(), err)
	}
	return rollout.Entry{Kind: data.Kind(), Data: []byte(s.r.Hide(string(raw)))}.Decode()
}

// A store may be asked again and again, or ask for patience itself. While a
// phase waits for it nobody watches the candidate, so it does not wait for long.
const (
	saveUsually   = time.Minute
	saveCancelled = 3 * time.Second
)

// save brings all that was noted into the store, and then into force.
func (s *session) save(ctx context.Context, edit func(*rollout.Mark)) error {
	next, err := s.store(ctx)
	if err != nil {
		if s.work.Request.Phase == rollout.Rollback { // which stops for nothing
			s.loseRecord(err)
			return s.stampIf(ctx, edit)
		}
		return errors.Join(err, s.forget())
	}
	err = s.stamp(ctx, func(m *rollout.Mark) {
		m.Head = next.Head()
		if edit != nil {
			edit(m)
		}
	})
	if err != nil {
		return errors.Join(err, s.forget())
	}
	opened := s.saved.Rollout != next.Rollout
	s.record, s.saved, s.head, s.begunSaved = next, next, next.Head(), s.begun
	s.keep(ctx)
	if opened {
		s.tell(Event{Record: &next})
	}
	return nil
}

// store signs the record and brings it into the store.
func (s *session) store(ctx context.Context) (rollout.Record, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.saveWithin, fmt.Errorf("not saved within %s", s.saveWithin))
	defer cancel()
	next, err := s.sealed(ctx)
	if err != nil {
		return next, err
	}
	return next, s.r.Store.Save(ctx, next, s.head)
}

func (s *session) sealed(ctx context.Context) (rollout.Record, error) {
	if s.r.Seal == nil {
		return s.record, nil
	}
	signature, err := s.r.Seal.Sign(ctx, s.record)
	if err != nil {
		return s.record, err
	}
	return s.record.Sign(signature), nil
}

// forget goes back to the record that is in force. What was noted since is
// found out again by looking.
func (s *session) forget() error {
	s.begun = s.begunSaved
	if len(s.saved.Entries) == 0 {
		s.record, s.in.State = rollout.Record{}, nil
		return nil
	}
	return s.adopt(s.saved)
}

// keep has the machine remember where the phase stands. A phase goes on
// without: it only takes longer to find its way after a kill.
func (s *session) keep(ctx context.Context) {
	if s.r.Journal == nil {
		return
	}
	err := s.r.Journal.Keep(ctx, rollout.Journalled{Holder: s.r.Holder, Head: s.head, Record: s.record})
	if err != nil && !s.unkept {
		s.unkept = true
		s.warn(fmt.Sprintf("the journal cannot be written, so that the post step can write down nothing: %v", err))
	}
}

func (s *session) stampIf(ctx context.Context, edit func(*rollout.Mark)) error {
	if edit == nil {
		return nil
	}
	return s.stamp(ctx, edit)
}

// ended is the entry that ends the phase.
func (s *session) ended(end plan.End) rollout.Ended {
	return rollout.Ended{
		Outcome: end.Outcome, Reason: end.Reason, Hint: end.Hint, Serving: s.in.Seen.Serving(), Probe: s.unprobe(),
	}
}

// release gives the lease back.
func release(m *rollout.Mark) { m.Lease = nil }

// finish writes how the phase ended and gives the lease back.
func (s *session) finish(ctx context.Context, end plan.End) error {
	errs := s.observe(ctx)
	switch noted := s.record.Head() != s.saved.Head() && !s.unrecorded; {
	case s.begun:
		errs = errors.Join(errs, s.write(ctx, release, s.ended(end)))
	case noted:
		errs = errors.Join(errs, s.save(ctx, release))
	default:
		err := s.stamp(ctx, release)
		if !errors.Is(err, errTakenOver) {
			errs = errors.Join(errs, err)
		}
	}
	if errs != nil && ctx.Err() == nil { // then nobody need wait for the lease to lapse
		if err := s.stamp(ctx, release); !errors.Is(err, errTakenOver) {
			errs = errors.Join(errs, err)
		}
	}
	if s.unlock != nil {
		errs = errors.Join(errs, s.unlock(ctx))
	}
	if errs = errors.Join(errs, s.observe(ctx)); errs != nil {
		return errors.Join(errs, s.forget())
	}
	if s.r.Journal == nil {
		return nil
	}
	return s.r.Journal.Drop(ctx)
}

// mayRecordEnd reports whether an end that was decided before anything was
// done belongs into the record: only the end of a phase that had begun does.
func (s *session) mayRecordEnd(end plan.End) bool {
	st := s.in.State
	return st != nil && st.Begun != nil && st.BegunPhase == s.work.Request.Phase &&
		(end.Outcome == rollout.Done || end.Outcome == rollout.Stopped) && st.Stage != rollout.StageSettled
}

func (s *session) tell(e Event) {
	if s.r.Tell != nil {
		s.r.Tell(e)
	}
}

func (s *session) warn(text string) {
	s.warnings = append(s.warnings, text)
	s.tell(Event{Warning: text})
}

func (s *session) result(end plan.End, cause error) Result {
	res := Result{
		Phase: s.work.Request.Phase, End: end, Record: s.record, State: s.in.State, Seen: s.in.Seen,
		Warnings: s.warnings, Cause: cause,
	}
	if s.unrecorded {
		res.Unrecorded = s.lost
	}
	if s.in.Config == nil { // nothing was read, so nothing is known to be due
		return res
	}
	res.Next = plan.NextOf(s.in)
	if res.Next.Phase != "" {
		res.Next = res.Next.Waiting(s.in, s.gateOf(res.Next.Phase, res.Next.To))
	}
	digest, err := s.nextGateDigest(res.Next)
	if err != nil {
		res.Warnings = append(res.Warnings, err.Error())
	}
	res.GateDigest = digest
	return res
}
