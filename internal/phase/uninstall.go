package phase

import (
	"context"
	"errors"
	"fmt"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/config"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// Uninstall says what is to go.
type Uninstall struct {
	// Service names one whose claims go, since it is no more; empty takes gapless
	// out of the database.
	Service string
	// DropArchives also drops what contract archived.
	DropArchives bool
}

// RefusedError is something that cannot be done as things stand.
type RefusedError struct{ Reason, Remedy string }

func (e *RefusedError) Error() string { return e.Reason }

// Unwrap makes it a refusal: nothing was tried.
func (e *RefusedError) Unwrap() error { return rollout.ErrInput }

// Hint says what to do.
func (e *RefusedError) Hint() string { return e.Remedy }

// Uninstall takes gapless out of the database, unless a rollout of the service
// is under way or something in the database is. The platform keeps its mark and
// the store its records.
func (r *Runner) Uninstall(ctx context.Context, work Work, what Uninstall) (removed change.Removed, err error) {
	s := &session{r: r, work: work}
	if s.in.Config, err = config.Parse(work.Config.Name, work.Config.Data); err != nil {
		return removed, err
	}
	if what.Service == "" || what.Service == s.in.Config.Service {
		if err := s.over(ctx); err != nil {
			return removed, err
		}
	}
	if err := s.openDatabase(ctx); err != nil {
		return removed, err
	}
	if err := s.lockDatabase(ctx, false); err != nil {
		return removed, err
	}
	removed, err = s.db.Uninstall(ctx, what.Service, what.DropArchives)
	return removed, errors.Join(err, s.unlock(ctx))
}

// over refuses while a rollout of the service is under way.
func (s *session) over(ctx context.Context) error {
	if err := s.observe(ctx); err != nil {
		return err
	}
	m := s.in.Seen.Mark
	switch {
	case m == nil:
		return nil
	case m.Busy(s.r.Holder, s.in.Now()):
		return &BusyError{*m.Lease}
	case !m.Candidate.Zero():
		return &RefusedError{
			fmt.Sprintf("rollout %s of service %s is under way", m.Rollout, m.Service),
			"finish it, or end it with gapless rollback, then uninstall",
		}
	}
	return nil
}
