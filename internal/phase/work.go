package phase

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/plan"
	"github.com/gapless-deploy/gapless/internal/rollout"
	"github.com/gapless-deploy/gapless/internal/verdict"
)

// Work is what a phase is to do, with the files as they are on disk.
type Work struct {
	Request plan.Request
	// Revision is the one to release; for plan, expand and deploy.
	Revision string
	// Expect is the gate-digest that was approved; empty asks for no
	// comparison where no gate is in force.
	Expect string
	// Config and Changes are the files on disk. A rollout under way uses those
	// that it was opened with.
	Config      rollout.File
	ChangeFiles []rollout.File
	// Commit is the one that brought the revision; empty outside of a workflow.
	Commit string
	// Head is the newest one that the caller knows of; zero is none. The
	// platform's own counts where it is newer.
	Head rollout.Head
	// Rollout is the id of the one that is meant; empty is whichever is due.
	Rollout string
}

// session is one run of a phase.
type session struct {
	r    *Runner
	work Work
	in   plan.Input
	// record is the true one. Where it cannot be read or written, lost says
	// why, and nothing is written any more.
	record rollout.Record
	// saved is the record as it is in force; what was noted since is in record
	// alone.
	saved rollout.Record
	// head is in force: saved's, or one whose record is lost.
	head rollout.Head
	// unread is set until a way back, which needs no record, has moved the
	// traffic.
	unread     bool
	unrecorded bool
	lost       error
	lease      lease
	// brought are the changes that a rollout which went back has brought, by ID.
	brought    map[string]bool
	db         Database
	begun      bool
	begunSaved bool
	// samples were counted until then.
	samples  []verdict.Sample
	counted  time.Time
	unlock   func(context.Context) error
	warnings []string
	cut      int // connections that a rolling update's way back cut
	// saveWithin bounds what saving the record may take.
	saveWithin time.Duration
	// unkept is set once the journal could not be written.
	unkept  bool
	expect  string
	unprobe func() *rollout.Probed
}

// enter finds out where the service stands. The session is of use also beside
// an error: it holds what was found out until then.
func (r *Runner) enter(ctx context.Context, work Work) (*session, error) {
	s := &session{r: r, work: work, saveWithin: saveUsually}
	s.in.Request = work.Request
	if err := s.observe(ctx); err != nil {
		return s, err
	}
	if err := s.locate(ctx); err != nil {
		return s, err
	}
	return s, s.find(ctx)
}

// find finds out all that is decided by, from the record and the files on.
func (s *session) find(ctx context.Context) error {
	if err := s.read(); err != nil {
		if s.work.Request.Phase != rollout.Rollback {
			return err
		}
		s.in.Config = &config.Config{} // a way back needs none but the usual times
		s.in.Config.Default()
		s.warn(fmt.Sprintf("going back without the config: %v", err))
	}
	if err := s.meant(); err != nil {
		return err
	}
	if err := s.able(); err != nil && s.work.Request.Phase != rollout.Rollback {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	if err := s.gate(ctx); err != nil {
		return err
	}
	return s.succession(ctx)
}

// succession looks ahead where the phase is to supersede another rollout.
func (s *session) succession(ctx context.Context) error {
	if s.supersedes() {
		return s.preflight(ctx)
	}
	return nil
}

// supersedes reports whether another rollout is to end before this one begins.
func (s *session) supersedes() bool {
	return s.work.Request.Supersede && opens(s.work.Request.Phase) && !s.in.Fresh &&
		s.in.State.Opening.Candidate != s.in.Spec.Revision
}

// read takes config and changes from the record of a rollout under way, else
// from disk.
func (s *session) read() error {
	st := s.in.State
	s.in.Fresh = st == nil || st.Stage == rollout.StageSettled && opens(s.work.Request.Phase)
	return s.readFiles()
}

// readFiles reads them for a new rollout, or for the one under way.
func (s *session) readFiles() error {
	file, f := s.work.Config, files{own: s.work.ChangeFiles}
	s.brought = map[string]bool{}
	switch st := s.in.State; {
	case st == nil:
	case !s.in.Fresh:
		file, f = st.Opening.Config, files{own: st.Opening.Changes, owed: owed(st), left: st.Opening.Left}
	default:
		var err error
		if f.owed, err = s.debts(f.own); err != nil {
			return err
		}
		f.left = left(st)
		for _, l := range f.left {
			s.brought[idOf(l)] = true
		}
		f.left = slices.DeleteFunc(f.left, func(l rollout.File) bool { return named(f.own, l.Name) })
	}
	cfg, err := config.Parse(file.Name, file.Data)
	if err != nil {
		return err
	}
	s.in.Config = cfg
	parse := change.Accepted                                    // a record holds what was accepted when it was opened
	if s.in.Fresh && s.work.Request.Phase != rollout.Rollback { // which does not wait for the grammar
		parse = change.Parse
	}
	if s.in.Changes, err = parseChanges(parse, f.own); err != nil {
		return err
	}
	if s.in.Owed, err = parseChanges(change.Accepted, f.owed); err != nil {
		return err
	}
	if s.in.Left, err = parseChanges(change.Accepted, f.left); err != nil {
		return err
	}
	if !opens(s.work.Request.Phase) {
		return nil
	}
	return s.prepareOpening(file, f)
}

// files are the changes of a rollout: its own, those whose contract earlier ones
// left, and those that were left by ones that went back.
type files struct{ own, owed, left []rollout.File }

// debts are the changes that the rollout before left to be contracted. One
// that the next release brings again is not a debt but its own.
func (s *session) debts(own []rollout.File) ([]rollout.File, error) {
	st := s.in.State
	all := owed(st)
	if !st.WentBack {
		all = append(all, st.Opening.Changes...)
	}
	var debts []rollout.File
	for _, f := range all {
		c, err := change.Accepted(f.Name, f.Data)
		if err != nil {
			return nil, fmt.Errorf("read the change owed by rollout %s: %w", st.Rollout, err)
		}
		if c.Contracts() && st.ChangeOf(c.ID) != rollout.Contracted && !named(own, f.Name) {
			debts = append(debts, f)
		}
	}
	return debts, nil
}

func named(files []rollout.File, name string) bool {
	for _, f := range files {
		if f.Name == name {
			return true
		}
	}
	return false
}

type parser func(file string, data []byte) (change.Change, error)

func parseChanges(parse parser, files []rollout.File) ([]change.Change, error) {
	var changes []change.Change
	var faults error
	for _, f := range files {
		c, err := parse(f.Name, f.Data)
		if err != nil {
			faults = errors.Join(faults, err)
			continue
		}
		changes = append(changes, c)
	}
	return changes, faults
}

// opens reports whether a phase may open a rollout.
func opens(p rollout.Phase) bool {
	return p == rollout.Plan || p == rollout.Expand || p == rollout.Deploy
}

// edited names the changes that have another text now than they were opened
// with.
func edited(opened, now []rollout.File) (ids []string) {
	for _, f := range opened {
		i := slices.IndexFunc(now, func(o rollout.File) bool { return o.Name == f.Name })
		if i >= 0 && !bytes.Equal(now[i].Data, f.Data) {
			ids = append(ids, idOf(f))
		}
	}
	return ids
}

// prepareOpening makes what a new record would begin with.
func (s *session) prepareOpening(file rollout.File, f files) error {
	cfg := s.in.Config
	if st := s.in.State; st != nil && !s.in.Fresh {
		s.in.Opening, s.in.Spec = st.Opening, st.Opening.Spec
		s.in.Unchanged = st.Opening.Intent == config.Intent(s.work.Config.Data, s.work.ChangeFiles, st.Opening.Target)
		if !s.in.Meant {
			s.in.Edited = edited(st.Opening.Changes, s.work.ChangeFiles)
		}
		return s.asked()
	}
	id, err := rollout.ParseRevisionID(s.work.Revision)
	if err != nil {
		return fmt.Errorf("%w: --revision names what to release: %w", rollout.ErrInput, err)
	}
	if s.in.Spec, err = cfg.Spec(id); err != nil {
		return err
	}
	if s.in.Spec.Instances == 0 {
		s.in.Spec.Instances = strength(s.in.Seen)
	}
	intent := config.Intent(file.Data, f.own, cfg.Target.String())
	o := rollout.Opened{
		Candidate: s.in.Spec.Revision, Strategy: cfg.Strategy.Kind(), Target: cfg.Target.String(), Spec: s.in.Spec,
		Config: file, Changes: f.own, Owed: f.owed, Left: f.left, Side: rollout.Blue, Intent: intent, Commit: s.work.Commit,
	}
	before, err := s.gatesBefore()
	if err != nil {
		return err
	}
	o.Gates = cfg.Gates.InForce(before)
	if m := s.in.Seen.Mark; m != nil {
		o.Stable, o.Side = m.Stable, m.StableSide.Other()
	}
	s.in.Opening = o
	return nil
}

// strength is how many instances stable has, for a target that says of none how
// many there are to be; 1 where nothing was released yet.
func strength(seen rollout.Observation) int {
	if m := seen.Mark; m != nil && seen.Sides[m.StableSide].Desired > 0 {
		return seen.Sides[m.StableSide].Desired
	}
	return 1
}

// gatesBefore are those that the last settled rollout left in force.
func (s *session) gatesBefore() (rollout.Gates, error) {
	st := s.in.State
	switch {
	case st == nil:
		return rollout.Gates{}, nil
	case st.WentBack, st.Adopted: // what it would have changed did not come to pass
		return st.Opening.Gates, nil
	}
	cfg, err := config.Parse(st.Opening.Config.Name, st.Opening.Config.Data)
	if err != nil {
		return rollout.Gates{}, fmt.Errorf("gates of rollout %s: %w", st.Rollout, err)
	}
	return cfg.Gates.Rollout(), nil
}

// asked finds out which revision is asked for while a rollout is under way. It
// goes on with the settings that it was opened with, so that only its name is
// compared; one that is to supersede it has those on disk.
func (s *session) asked() error {
	switch {
	case s.work.Revision == "":
		return nil
	case !s.work.Request.Supersede:
		s.in.Spec.Revision.ID = s.work.Revision
		return nil
	}
	cfg, err := config.Parse(s.work.Config.Name, s.work.Config.Data)
	if err != nil {
		return err
	}
	id, err := rollout.ParseRevisionID(s.work.Revision)
	if err != nil {
		return fmt.Errorf("%w: --revision names what to release: %w", rollout.ErrInput, err)
	}
	s.in.Spec, err = cfg.Spec(id)
	return err
}

// observe looks at the platform again and keeps the fold up to date.
func (s *session) observe(ctx context.Context) error {
	seen, err := s.see(ctx, !s.in.Seen.At.IsZero())
	if err != nil {
		return err
	}
	s.in.Seen = seen
	return nil
}
