package database

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// recipe carries out one kind of operation in the way that takes the least
// lock. Recipes hold nothing: what they work on is in work.
type recipe interface {
	// look refuses, before anything is done, what could not be carried out or,
	// in expand, not be taken back. The change may be half done.
	look(ctx context.Context, i *inspector, o change.Operation) error
	// do carries the operation out. It may be repeated, also after it was cut
	// short anywhere, and then leaves what is done as it is.
	do(ctx context.Context, w work) (change.Evidence, error)
	// undo takes back what do did, wholly or in part, in expand. It may be
	// repeated, and leaves alone what do never did.
	undo(ctx context.Context, w work) (change.Evidence, error)
	// verify tells whether what do made is in force.
	verify(ctx context.Context, w work) ([]change.CheckResult, error)
}

// recipeOf gives the recipe of a kind of operation.
func recipeOf(kind change.OperationKind) (recipe, error) {
	switch kind {
	case change.OpAddColumn:
		return addColumn{}, nil
	case change.OpDropColumn:
		return dropColumn{}, nil
	case change.OpSetNotNull:
		return setNotNull{}, nil
	case change.OpDropNotNull:
		return dropNotNull{}, nil
	case change.OpSetDefault:
		return setDefault{}, nil
	case change.OpDropDefault:
		return dropDefault{}, nil
	case change.OpAddCheck:
		return addCheck{}, nil
	case change.OpAddUnique:
		return addUnique{}, nil
	case change.OpAddForeignKey:
		return addForeignKey{}, nil
	case change.OpDropConstraint:
		return dropConstraint{}, nil
	case change.OpCreateIndex:
		return createIndex{}, nil
	case change.OpDropIndex:
		return dropIndex{}, nil
	case change.OpCreateTable:
		return createTable{}, nil
	case change.OpRenameTable:
		return renameTable{}, nil
	case change.OpDropTable:
		return dropTable{}, nil
	case change.OpCreateView:
		return createView{}, nil
	case change.OpReplaceView:
		return replaceView{}, nil
	case change.OpDropView:
		return dropView{}, nil
	case change.OpAddEnumValue:
		return addEnumValue{}, nil
	case change.OpDropFunction:
		return dropFunction{}, nil
	case change.OpDropSequence:
		return dropSequence{}, nil
	case change.OpSQL:
		return plainSQL{}, nil
	}
	return nil, fmt.Errorf("no recipe for operation %q", kind)
}

// work is one step of a change at work.
type work struct {
	db       *DB
	s        *session
	change   change.Change
	standing standing
	step     change.Step
	progress func(change.Progress)
}

// operate carries out the step's operation.
func (w work) operate(ctx context.Context) (change.Evidence, error) {
	r, err := recipeOf(w.step.Operation.Kind())
	if err != nil {
		return change.Evidence{}, err
	}
	return r.do(ctx, w)
}

// once runs the only lock-taking statement of a step, or none where it is
// empty, in a transaction that is tried again when it meets a lock, and notes
// that the step is done. It keeps everybody from some tables for an instant.
// compose is asked in each attempt.
func (w work) once(ctx context.Context, tables []table, compose func(ctx context.Context, tx pgx.Tx) (statement string, err error)) (change.Evidence, error) {
	e := change.Evidence{Step: w.step.ID}
	return e, w.db.inTransaction(ctx, w.s, "table "+tables[0].ident(), func(tx pgx.Tx) error {
		statement, err := compose(ctx, tx)
		if err != nil {
			return err
		}
		if statement != "" {
			if err := w.s.seize(ctx, tx, nobody, tables); err != nil {
				return err
			}
			if err := w.run(ctx, tx, statement); err != nil {
				return err
			}
		}
		e.Detail = statement
		return finish(ctx, tx, w.change.ID, e)
	})
}

// run runs one statement that changes a definition, and notes it in
// gapless.log in the same transaction.
func (w work) run(ctx context.Context, tx pgx.Tx, statement string) error {
	begun := time.Now()
	if _, err := tx.Exec(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return w.log(ctx, tx, statement, time.Since(begun))
}

func (w work) log(ctx context.Context, tx pgx.Tx, statement string, took time.Duration) error {
	_, err := tx.Exec(ctx, `insert into gapless.log (change, step, statement, seconds) values ($1, $2, $3, $4)`,
		w.change.ID, w.step.ID, statement, took.Seconds())
	if err != nil {
		return fmt.Errorf("note what was done: %w", err)
	}
	return nil
}

// concurrently runs a statement outside of a transaction that waits for the
// transactions of others without holding anybody up, and notes it.
func (w work) concurrently(ctx context.Context, object, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, w.db.options.IndexTimeout)
	defer cancel()
	begun := time.Now()
	if err := w.db.concurrently(ctx, w.s, w.step.ID, object, statement, w.progress); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error { return w.log(ctx, tx, statement, time.Since(begun)) })
}

// done notes that the step is done.
func (w work) done(ctx context.Context, e change.Evidence) (change.Evidence, error) {
	e.Step = w.step.ID
	return e, pgx.BeginFunc(ctx, w.s.Conn, func(tx pgx.Tx) error { return finish(ctx, tx, w.change.ID, e) })
}

// table finds the change's table.
func (w work) table(ctx context.Context) (table, error) { return resolveTable(ctx, w.s, w.change) }
