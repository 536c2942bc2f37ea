package database

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/gapless-deploy/gapless/internal/change"
)

// replaceView gives a view another query, which keeps its columns and may add
// some at the end. The query before is archived for the way back.
type replaceView struct{}

func (replaceView) look(ctx context.Context, i *inspector, o change.Operation) error {
	if done, err := i.done(ctx, o); err != nil || done {
		return err
	}
	what := "replace_view " + o.ReplaceView.Name
	v, err := i.s.findObject(ctx, i.s, o.ReplaceView.Name)
	switch {
	case err != nil:
		return err
	case !v.there():
		i.warn("%s: it is not there yet; it must be when expand comes to it", what)
		return nil
	case v.kind != "v":
		i.refuse("%s: %s is no view", what, v.ident())
		return nil
	case !v.mine:
		i.refuse("%s: the role is not an owner of view %s", what, v.ident())
	}
	body, err := viewBody(ctx, i.s, v)
	if err != nil {
		return err
	}
	i.touches("view " + v.ident() + " " + body)
	return i.s.aside(ctx, i.s, func(tx pgx.Tx) error {
		has, err := i.tryView(ctx, tx, what, o.ReplaceView.Query)
		if err != nil || has == nil {
			return err
		}
		had, err := viewColumns(ctx, tx, v.ident())
		if err != nil {
			return err
		}
		if reason := unkept(had, has); reason != "" {
			i.refuse("%s: %s", what, reason)
		}
		return nil
	})
}

// replaced is the kind under which the query before is archived.
const replaced = "replaced view"

func (replaceView) do(ctx context.Context, w work) (change.Evidence, error) {
	name := w.step.Operation.ReplaceView.Name
	return w.within(ctx, "view "+name, func(tx pgx.Tx, e *change.Evidence) error {
		if before, done, err := w.did(ctx, tx); err != nil || done {
			*e = before
			return err
		}
		v, err := w.s.findObject(ctx, tx, name)
		if err != nil {
			return err
		}
		if !v.is("v") {
			return w.refused("make it first, or create_view it", "there is no view %s", name)
		}
		head, err := createHead(ctx, tx, v)
		if err != nil {
			return err
		}
		body, err := viewBody(ctx, tx, v)
		if err != nil {
			return err
		}
		if err := w.keep(ctx, tx, replaced, v.ident(), head+body); err != nil {
			return err
		}
		e.Detail = "view " + v.ident()
		return w.runAs(ctx, tx, head+w.step.Operation.ReplaceView.Query+"\n")
	})
}

// undo gives the view its query back. Columns that the new one added can only be
// taken away with the view: then it is made anew, and those that read from it,
// too, if none of them reads these columns.
func (r replaceView) undo(ctx context.Context, w work) (change.Evidence, error) {
	name := w.step.Operation.ReplaceView.Name
	return w.within(ctx, "view "+name, func(tx pgx.Tx, _ *change.Evidence) error {
		if _, done, err := w.did(ctx, tx); err != nil || !done {
			return err
		}
		v, err := w.s.findObject(ctx, tx, name)
		if err != nil {
			return err
		}
		if !v.is("v") {
			return w.refused("", "there is no view %s any more", name)
		}
		var old string
		err = tx.QueryRow(ctx, `select definition from gapless.archived_definition where change = $1 and kind = $2 and name = $3`, w.change.ID, replaced, v.ident()).Scan(&old)
		if errors.Is(err, pgx.ErrNoRows) {
			return w.refused("", "the definition of %s before it was replaced is not archived", v.ident())
		}
		if err != nil {
			return fmt.Errorf("read the definition before of %s: %w", v.ident(), err)
		}
		if err := r.putBack(ctx, tx, w, v, old); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `delete from gapless.archived_definition where change = $1 and kind = $2 and name = $3`, w.change.ID, replaced, v.ident()); err != nil {
			return fmt.Errorf("forget the definition before of %s: %w", v.ident(), err)
		}
		return w.forget(ctx, tx)
	})
}

func (replaceView) putBack(ctx context.Context, tx pgx.Tx, w work, v named, old string) error {
	refused, err := try(ctx, tx, old)
	if err != nil {
		return err
	}
	if refused == nil {
		return w.log(ctx, tx, old, 0)
	}
	const cannotDropColumns = "42P16" // invalid_table_definition
	if refused.code != cannotDropColumns {
		return fmt.Errorf("%s: %s", old, refused)
	}
	readers, err := viewReaders(ctx, tx, w, v)
	if err != nil {
		return err
	}
	if err := w.share(ctx, tx, 1+len(readers)); err != nil {
		return err
	}
	var again [][]string
	for _, reader := range readers {
		definition, err := viewDefinition(ctx, tx, reader)
		if err != nil {
			return err
		}
		again = append(again, definition)
	}
	mine, err := viewDefinition(ctx, tx, v)
	if err != nil {
		return err
	}
	mine[0] = old
	for _, gone := range slices.Backward(append([]named{v}, readers...)) {
		if err := w.run(ctx, tx, "drop view "+gone.ident()); err != nil {
			return err
		}
	}
	for n, definition := range append([][]string{mine}, again...) {
		if err := w.makeAgain(ctx, tx, append([]named{v}, readers...)[n], definition); err != nil {
			return err
		}
	}
	return nil
}

// makeAgain makes a view as its definition says, with nobody's privileges but
// those it had.
func (w work) makeAgain(ctx context.Context, tx pgx.Tx, v named, definition []string) error {
	refused, err := try(ctx, tx, definition[0])
	if err != nil {
		return err
	}
	if refused != nil {
		return w.refused("change what needs the columns first", "view %s needs what the way back takes away: %s", v.ident(), refused.message)
	}
	if err := w.log(ctx, tx, definition[0], 0); err != nil {
		return err
	}
	var oid uint32
	if err := tx.QueryRow(ctx, `select to_regclass($1)::oid`, v.ident()).Scan(&oid); err != nil {
		return fmt.Errorf("look at view %s: %w", v.ident(), err)
	}
	byDefault, err := revocations(ctx, tx, oid, v.ident())
	if err != nil {
		return err
	}
	return w.runAll(ctx, tx, append(byDefault, definition[1:]...)...)
}

// viewReaders are the views that read from a view, directly or not, those first
// that others read from. Anything else that depends on it is refused.
func viewReaders(ctx context.Context, q querier, w work, v named) (readers []named, err error) {
	for next := []named{v}; len(next) > 0; next = next[1:] {
		found, err := hanging(ctx, q, next[0].target(), false)
		if err != nil {
			return nil, err
		}
		for _, h := range found {
			if h.kind != "view" {
				return nil, w.refused("drop it first", "%s reads from view %s, which has to be made anew", h, v.ident())
			}
			reader, err := objectOf(ctx, q, h.oid)
			if err != nil {
				return nil, err
			}
			// Again at the end, where it was met before.
			readers = append(slices.DeleteFunc(readers, func(o named) bool { return o.oid == h.oid }), reader)
			next = append(next, reader)
		}
	}
	return readers, nil
}

func (replaceView) verify(ctx context.Context, w work) ([]change.CheckResult, error) {
	return w.viewThere(ctx, w.step.Operation.ReplaceView.Name)
}
