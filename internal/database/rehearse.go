package database

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
	"github.com/gapless-deploy/gapless/internal/rollout"
)

// UnrehearsedError is a rehearsal that there was no place for.
type UnrehearsedError struct {
	Err  error
	What string // to do
}

func (e *UnrehearsedError) Error() string { return fmt.Sprintf("not rehearsed: %v", e.Err) }
func (e *UnrehearsedError) Unwrap() error { return e.Err }

// Hint says what a person can do.
func (e *UnrehearsedError) Hint() string { return e.What }

// Rehearse carries out changes, in order, on an empty copy of the schema: expand,
// the way back, expand again and contract. It tells what each statement locked
// and rewrote.
//
// The copy is a new database on the same server, filled by pg_dump and dropped
// afterwards; or, where scratch is not empty, the database of that URL, which
// must have the schema and no rows, and is used up. The error is
// *UnrehearsedError where there is no such place.
func (db *DB) Rehearse(ctx context.Context, changes []change.Change, scratch string) (all []change.Rehearsal, err error) {
	all = make([]change.Rehearsal, len(changes))
	var due []int
	for i, c := range changes {
		all[i].Change = c.ID
		facts, err := db.Inspect(ctx, c)
		switch {
		case err != nil:
			return nil, err
		case len(facts.Refusals) > 0:
			all[i].Skipped = "the plan refuses it"
		case facts.State != rollout.Absent:
			all[i].Skipped = fmt.Sprintf("it is %s already", facts.State)
		default:
			due = append(due, i)
		}
	}
	if len(due) == 0 {
		return all, nil
	}
	config, leave, err := db.place(ctx, scratch)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	onlooker, err := newOnlooker(ctx, config, db.options.Now)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, onlooker.close(ctx)) }()
	config = config.Copy()
	config.Tracer = onlooker
	r := rehearsal{db: &DB{config: config, options: db.options}, onlooker: onlooker}
	for _, part := range []change.Part{change.PartExpand, change.PartContract} {
		for _, i := range due {
			if err := r.play(ctx, changes[i], part, &all[i]); err != nil {
				return nil, err
			}
		}
	}
	for i := range all {
		all[i].Judge(db.options.LockTimeout)
	}
	return all, nil
}

// place gives the database that is rehearsed on, and what to do afterwards.
func (db *DB) place(ctx context.Context, scratch string) (*pgx.ConnConfig, func() error, error) {
	if scratch == "" {
		return db.clone(ctx)
	}
	config, err := db.borrow(ctx, scratch)
	return config, func() error { return nil }, err
}

// rehearsal plays changes on a copy.
type rehearsal struct {
	db       *DB
	onlooker *onlooker
}

// play plays a part of a change. Where a step fails the rest of the change is
// not played: the rehearsal says so.
func (r rehearsal) play(ctx context.Context, c change.Change, part change.Part, to *change.Rehearsal) error {
	if to.Failed != "" {
		return nil
	}
	c.Verify.Checks = nil // what they expect is of the rows
	rounds := [][]change.Step{change.ContractSteps(c)}
	if part == change.PartExpand {
		rounds = [][]change.Step{change.ExpandSteps(c), change.RevertSteps(c), change.ExpandSteps(c)}
	}
	for n, steps := range rounds {
		for _, step := range steps {
			r.onlooker.begin(step)
			_, err := r.db.Apply(ctx, c, step, nil)
			seen, seeing := r.onlooker.end()
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if seeing != nil {
				return fmt.Errorf("watch the rehearsal: %w", seeing)
			}
			if n < 2 { // the third is the first again
				to.Statements = append(to.Statements, seen...)
			}
			if err != nil {
				to.Failed = fmt.Sprintf("%s, %v", step.Part, err)
				return nil
			}
		}
	}
	return nil
}
