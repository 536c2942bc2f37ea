package database

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// doomed is an object that contract drops by name.
type doomed struct {
	target
	kind, label string
	mine        bool   // the role has its owner's rights
	definition  string // what would make it again
	// lock keeps others from changing what the definition says; it may be empty.
	lock, drop string
}

// finder finds what is to be dropped; nothing where there is nothing.
type finder func(ctx context.Context, tx pgx.Tx) (*doomed, error)

// lookDrop looks at what an operation of contract drops.
func (i *inspector) lookDrop(ctx context.Context, o change.Operation, find finder) error {
	if done, err := i.done(ctx, o); err != nil || done {
		return err
	}
	var d *doomed
	err := i.s.look(ctx, func(tx pgx.Tx) (err error) {
		d, err = find(ctx, tx)
		return err
	})
	refused, is := errors.AsType[*RefusedError](err)
	switch {
	case is:
		i.refuse("%s: %s", o.Kind(), strings.Join(refused.Reasons, "; "))
		return nil
	case err != nil:
		return err
	case d == nil:
		i.refuse("%s: there is no %s", o.Kind(), o.Name())
		return nil
	case !d.mine:
		i.refuse("%s: the role is not an owner of %s %s", o.Kind(), d.kind, d.label)
	}
	return i.drops(ctx, o, *d)
}

// dropNamed archives the definition of an object and drops it, where nothing
// needs it.
func (w work) dropNamed(ctx context.Context, find finder) (change.Evidence, error) {
	if before, done, err := w.did(ctx, w.s); err != nil || done {
		return before, err
	}
	err := w.s.look(ctx, func(tx pgx.Tx) error {
		d, err := find(ctx, tx)
		if err != nil || d == nil {
			return err
		}
		return w.free(ctx, tx, d.target, true)
	})
	if err != nil {
		return change.Evidence{Step: w.step.ID}, err
	}
	return w.within(ctx, w.step.Operation.Name(), func(tx pgx.Tx, e *change.Evidence) error {
		d, err := find(ctx, tx)
		if err != nil {
			return err
		}
		if d == nil {
			e.Detail = "it was gone already"
			return nil
		}
		if d.lock != "" {
			if err := w.share(ctx, tx, 2); err != nil {
				return err
			}
			if err := w.run(ctx, tx, d.lock); err != nil {
				return err
			}
			if d, err = find(ctx, tx); err != nil || d == nil {
				return err
			}
		}
		if err := w.free(ctx, tx, d.target, false); err != nil {
			return err
		}
		if err := w.keep(ctx, tx, d.kind, d.label, d.definition); err != nil {
			return err
		}
		e.Dropped = []string{d.kind + " " + d.label}
		return w.run(ctx, tx, d.drop)
	})
}
